"""The Runtime API of one execution environment: a loopback port of its own, and what is said on its connections.

All connections share one lifecycle. A call waits for a poll and a poll for a call, each in the order they came; a poll
whose connection ended takes none. Whatever the runtime says of an invocation goes to its ``Call`` at once. When it is
over the lifecycle knows, which is asked after every word (``settle``).
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Answer,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    Violation,
)
from lambda_wire._lifecycle import TOO_LATE, Lifecycle, too_large
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import Signal
from lambda_wire.local import failures
from lambda_wire.local.call import Call, Failure
from lambda_wire.local.handover import Handover
from lambda_wire.local.listener import Listener
from lambda_wire.local.modes import Mode
from lambda_wire.local.peer import Peer

__all__ = ["RuntimeApi"]

_TOO_LARGE: Final = too_large(0).status
_NO_LIMIT: Final = sys.maxsize


class RuntimeApi:
    """The service's end for one environment. Made by ``open``.

    Attributes:
        address: ``host:port`` for ``AWS_LAMBDA_RUNTIME_API``.
        ready: Done when the runtime has polled for the first time, or has reported why it cannot start.
    """

    def __init__(self, mode: Mode) -> None:
        self.address = ""
        self.ready: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        self._mode = mode
        self._polls: deque[asyncio.Future[Handover]] = deque()
        self._waiting: deque[Handover] = deque()
        self._sent: dict[str, Handover] = {}
        """What the runtime was told of and is not over, by request id."""
        self._conversations: set[_Conversation] = set()
        self._listener: Listener | None = None

    @classmethod
    async def open(cls, mode: Mode) -> RuntimeApi:
        """Begin to listen on a free port of the loopback interface.

        Raises:
            OSError: There is none.
        """
        api = cls(mode)
        api._listener = await Listener.open("127.0.0.1", 0, api._serve)
        api.address = f"127.0.0.1:{api._listener.port}"
        return api

    def hand_over(self, handover: Handover) -> None:
        """Give a call to the poll that has waited longest, or else to one that comes."""
        self._waiting.append(handover)
        self._match()

    def take_back(self, handover: Handover) -> None:
        """Let no poll have a call any more."""
        handover.sent.cancel()
        if handover in self._waiting:
            self._waiting.remove(handover)

    async def expire(self, handover: Handover) -> None:
        """Let the deadline of a call pass: an answer that has begun is refused, and its connection ended."""
        self._mode.expire(handover.call.request_id)
        self.settle()
        for conversation in self._conversations:
            conversation.expire(handover.call.request_id)
        await handover.over

    async def finished(self) -> None:
        """Wait until everything that the runtime said before it ended has been heard."""
        if self._listener is not None:
            await self._listener.finished()

    async def close(self) -> None:
        """End all connections."""
        if self._listener is not None:
            await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(self, Peer(reader, writer))
        self._conversations.add(conversation)
        try:
            await conversation.hold()
        finally:
            self._conversations.remove(conversation)

    # -- what the conversations say

    @property
    def lifecycle(self) -> Lifecycle:
        """The state that all connections share."""
        return self._mode.lifecycle

    def call(self, request_id: str) -> Call:
        """Return the call that the runtime answers, which the lifecycle has allowed."""
        return self._sent[request_id].call

    def repeated(self) -> Invocation | None:
        """Return the event that a poll gets once more."""
        return next(iter(self._sent.values())).invocation if self._mode.repeats else None

    def wait_for_call(self) -> asyncio.Future[Handover]:
        """Queue a poll."""
        poll: asyncio.Future[Handover] = asyncio.get_running_loop().create_future()
        self._polls.append(poll)
        if not self.ready.done():
            self.ready.set_result(None)
        self._match()
        return poll

    def withdraw(self, poll: asyncio.Future[Handover]) -> None:
        """Take back a poll whose connection has ended; a call that it was given goes to the next one."""
        if poll in self._polls:
            self._polls.remove(poll)
        elif poll.done() and not poll.result().sent.done():
            self._waiting.appendleft(poll.result())
            self._match()

    def begin(self, handover: Handover) -> Invocation | None:
        """Return what to answer a poll with; ``None`` when the call was taken back."""
        if handover.sent.cancelled():
            return None
        self._sent[handover.call.request_id] = handover
        return handover.begin()

    def settle(self, failure: Failure | None = None) -> None:
        """See what has become of the calls, after anything was said or heard.

        Args:
            failure: How one ends that was answered by what was just said, unless it has ended already.
        """
        for request_id, handover in tuple(self._sent.items()):
            if not handover.answered and self._mode.is_answered(request_id):
                handover.answered = True
                if failure is not None:
                    handover.call.end(failure)
            if self._mode.is_over(request_id):
                del self._sent[request_id]
                handover.over.set_result(None)

    def report_init_failure(self, failure: Failure) -> None:
        """The runtime cannot start. Once it has polled, that is no news."""
        if not self.ready.done():
            self.ready.set_result(failure)

    def _match(self) -> None:
        while self._polls and self._waiting:
            self._polls.popleft().set_result(self._waiting.popleft())


class _Conversation:
    """One connection of the runtime."""

    def __init__(self, api: RuntimeApi, peer: Peer) -> None:
        self._api = api
        self._peer = peer
        self._connection = ServiceConnection(api.lifecycle, max_stream=_NO_LIMIT)  # a call knows its own
        self._call: Call | None = None
        """Whose response streams here."""
        self._over = 0
        """Bytes of the stream beyond what its caller may be given."""
        self._limit = asyncio.timeout(None)

    async def hold(self) -> None:
        try:
            try:
                async with self._limit:
                    await self._converse()
            except TimeoutError:
                if self._connection.answering:
                    await self._send(TOO_LATE)
            await self._peer.linger()
        finally:
            self._connection.abandon()
            self._api.settle()

    def expire(self, request_id: str) -> None:
        """Hear no more of an answer, if it is under way here."""
        if self._connection.answering == request_id:
            self._limit.reschedule(0.0)

    async def _converse(self) -> None:
        while not self._connection.must_close:
            try:
                event = self._connection.next_event()
            except RemoteProtocolError as fault:
                self._api.settle()
                if fault.reply is not None:
                    await self._send(fault.reply)
                return
            self._api.settle(failures.INVALID_RESPONSE_MODE if not isinstance(event, ConnectionClosed) else None)
            if isinstance(event, Signal):
                self._connection.receive_data(await self._peer.read())
            elif not isinstance(event, ConnectionClosed):
                await self._hear(event)

    async def _hear(self, event: ServiceEvent) -> None:
        match event:
            case NextAsked():
                await self._answer_poll()
            case ContinueAsked():
                await self._send(Continue())
            case PingAsked():
                await self._send(Pong())
            case InitErrorReported():
                self._api.report_init_failure(failures.reported(event.error_type, event.payload))
                await self._send(Accepted())
            case Violation():
                await self._send(event.reply)
            case BufferedResponse():
                call = self._api.call(event.request_id)
                call.start(event.content_type, streaming=False)
                await call.write(event.payload)
                call.end()
                await self._send(Accepted())
            case ErrorReported():
                self._api.call(event.request_id).end(failures.reported(event.error_type, event.payload))
                await self._send(Accepted())
            case ResponseStarted():
                self._call, self._over = self._api.call(event.request_id), 0
                self._call.start(event.content_type, streaming=event.response_mode == names.STREAMING)
            case _ if self._call is not None:
                await self._hear_stream(self._call, event)
            case _:
                raise AssertionError(f"the lifecycle allowed {event!r} before any invocation")

    async def _hear_stream(self, call: Call, event: ServiceEvent) -> None:
        match event:
            case ResponseChunk():
                await self._pass_on(call, event.data)
            case ResponseFinished() | ResponseFailed() if self._over:
                await self._send(too_large(call.max_stream))
            case ResponseFinished():
                call.end()
                await self._send(Accepted())
            case ResponseFailed():
                call.end(failures.reported_midway(event.error_type, event.error_body))
                await self._send(Accepted())
            case _:
                raise AssertionError(f"no part of an answer: {event!r}")

    async def _pass_on(self, call: Call, data: bytes) -> None:
        """Hand a piece to the caller, as far as his limit allows; a runtime that goes on for long beyond it is cut.

        AWS hands on one byte more than the limit (recorded 2026-09).
        """
        room = call.max_stream + 1 - call.size
        await call.write(data[:room])
        if len(data) < room:
            return
        self._over += len(data) - room + 1
        call.end(failures.oversized(call.max_stream))
        if self._over > limits.MAX_PAYLOAD:
            await self._send(too_large(call.max_stream))

    async def _answer_poll(self) -> None:
        """Wait for an invocation, and meanwhile notice when the runtime goes away."""
        invocation = self._api.repeated()
        while invocation is None:
            poll = self._api.wait_for_call()
            try:
                if not await self._stays_for(poll):
                    return
                invocation = self._api.begin(await poll)
            finally:
                self._api.withdraw(poll)
        await self._send(invocation)

    async def _stays_for(self, poll: asyncio.Future[Handover]) -> bool:
        """Wait for the poll's answer, or for bytes, which belong to the next request.

        Returns:
            ``False`` when the runtime has left, even if the answer is there: it keeps for its next poll, or for the
            next runtime.
        """
        data = await self._peer.read_unless(poll)
        if data is not None:
            self._connection.receive_data(data)
        return data != b""

    async def _send(self, answer: Answer) -> None:
        buffers = self._connection.send_buffers(answer)
        too_much = isinstance(answer, Refused) and answer.status == _TOO_LARGE
        self._api.settle(failures.oversized(limits.MAX_PAYLOAD) if too_much else None)
        await self._peer.write(buffers)

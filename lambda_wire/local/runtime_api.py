"""The Runtime API of one execution environment: a loopback port of its own, and what is said on its connections.

All connections share one lifecycle. An invocation goes to the poll that has waited longest; a poll whose connection
ended takes none. Whatever the runtime says of an invocation goes to its ``Call`` at once.
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
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    Violation,
)
from lambda_wire._lifecycle import StandardLifecycle, too_large
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import Signal
from lambda_wire._state import State
from lambda_wire.local import failures
from lambda_wire.local.call import Call, Failure
from lambda_wire.local.listener import Listener
from lambda_wire.local.peer import Peer

__all__ = ["RuntimeApi"]

_TOO_LARGE: Final = too_large(0).status
_NO_LIMIT: Final = sys.maxsize


class RuntimeApi:
    """The service's end for one environment. Made by ``open``.

    Attributes:
        address: ``host:port`` for ``AWS_LAMBDA_RUNTIME_API``.
        news: Set when the environment can take an invocation, or has reported that it cannot start.
        init_failure: What it reported then.
    """

    def __init__(self) -> None:
        self.address = ""
        self.news: asyncio.Event = asyncio.Event()
        self.init_failure: Failure | None = None
        self._lifecycle = StandardLifecycle()
        self._polls: deque[asyncio.Future[Invocation]] = deque()
        self._call: Call | None = None
        self._invocation: Invocation | None = None
        self._unsent = False
        self._listener: Listener | None = None

    @classmethod
    async def open(cls) -> RuntimeApi:
        """Begin to listen on a free port of the loopback interface."""
        api = cls()
        api._listener = await Listener.open("127.0.0.1", 0, api._serve)
        api.address = f"127.0.0.1:{api._listener.port}"
        return api

    def hand_over(self, call: Call, invocation: Invocation) -> None:
        """Answer the oldest poll. ``news`` must be set, and ``init_failure`` not."""
        self._call, self._invocation, self._unsent = call, invocation, True
        self._polls.popleft().set_result(invocation)
        self.news.clear()

    async def finished(self) -> None:
        """Wait until everything that the runtime said before it ended has been heard."""
        if self._listener is not None:
            await self._listener.finished()

    async def close(self) -> None:
        """End all connections."""
        if self._listener is not None:
            await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Conversation(self, Peer(reader, writer)).hold()

    # -- what the conversations say

    @property
    def lifecycle(self) -> StandardLifecycle:
        """The state that all connections share."""
        return self._lifecycle

    @property
    def call(self) -> Call | None:
        """The invocation that was handed over last."""
        return self._call

    def repeated(self) -> Invocation | None:
        """Return the event that is still unanswered: a second poll gets it again (observed)."""
        return self._invocation if self._unsent or self._lifecycle.state is State.RUNNING else None

    def has_sent(self, call: Call) -> bool:
        """Say whether the runtime may know of a call."""
        return self._call is call and not self._unsent

    def note_sent(self) -> None:
        """The invocation is on its way; from now on the lifecycle knows it."""
        self._unsent = False

    def wait_for_invocation(self) -> asyncio.Future[Invocation]:
        """Queue a poll."""
        poll: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._polls.append(poll)
        if self._lifecycle.state is State.READY:
            self.news.set()
        return poll

    def withdraw(self, poll: asyncio.Future[Invocation]) -> None:
        """Take back a poll whose connection has ended."""
        if poll in self._polls:
            self._polls.remove(poll)
            if not self._polls and self.init_failure is None:
                self.news.clear()

    def report_init_failure(self, failure: Failure) -> None:
        """The runtime cannot start."""
        self.init_failure = failure
        self.news.set()


class _Conversation:
    """One connection of the runtime."""

    def __init__(self, api: RuntimeApi, peer: Peer) -> None:
        self._api = api
        self._peer = peer
        self._connection = ServiceConnection(api.lifecycle, max_stream=_NO_LIMIT)  # a call knows its own
        self._over = 0
        """Bytes of the stream beyond what its caller may be given."""

    async def hold(self) -> None:
        while not self._connection.must_close:
            try:
                event = self._connection.next_event()
            except RemoteProtocolError as fault:
                if fault.reply is not None:
                    await self._send(fault.reply)
                break
            if isinstance(event, Signal):
                self._connection.receive_data(await self._peer.read())
            elif isinstance(event, ConnectionClosed):
                return
            else:
                await self._hear(event)
        await self._peer.linger()

    async def _hear(self, event: ServiceEvent) -> None:
        call = self._api.call
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
                if event.reply.status == _TOO_LARGE and call is not None:
                    call.end(failures.oversized(limits.MAX_PAYLOAD))
                await self._send(event.reply)
            case _ if call is not None:
                await self._hear_answer(call, event)
            case _:
                raise AssertionError(f"the lifecycle allowed {event!r} before any invocation")

    async def _hear_answer(self, call: Call, event: ServiceEvent) -> None:
        match event:
            case ResponseStarted():
                self._over = 0
                call.start(event.content_type, streaming=event.response_mode == names.STREAMING)
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
            case BufferedResponse():
                call.start(event.content_type, streaming=False)
                await call.write(event.payload)
                call.end()
                await self._send(Accepted())
            case ErrorReported():
                call.end(failures.reported(event.error_type, event.payload))
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
        if invocation is None:
            poll = self._api.wait_for_invocation()
            try:
                if not await self._stays_for(poll):
                    return
                invocation = await poll
            finally:
                self._api.withdraw(poll)
        await self._send(invocation)

    async def _stays_for(self, poll: asyncio.Future[Invocation]) -> bool:
        """Wait for the poll's answer, or for bytes, which belong to the next request.

        Returns:
            ``False`` when the runtime has left, even if the answer is there: it keeps for its next poll, or for the
            next runtime.
        """
        read = asyncio.ensure_future(self._peer.read())
        either: set[asyncio.Future[Invocation] | asyncio.Future[bytes]] = {poll, read}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            read.cancel()
        await asyncio.wait({read})
        if read.cancelled():
            return not self._peer.at_eof
        data = read.result()
        self._connection.receive_data(data)
        return bool(data)

    async def _send(self, answer: Answer) -> None:
        buffers = self._connection.send_buffers(answer)
        if isinstance(answer, Invocation):
            self._api.note_sent()
        await self._peer.write(buffers)

"""The callers' port, connection by connection: requests are read, and answered in plain HTTP or as Invoke is."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final, TypeAlias

from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Continue, Refused
from lambda_wire._invoke_events import InvokeAnswer, InvokeAsked, InvokeRefused, InvokeViolation, OtherAsked
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._record import replaced
from lambda_wire._signals import Signal
from lambda_wire._types import BytesLike, Headers
from lambda_wire.local.call import fresh_request_id
from lambda_wire.local.peer import Peer
from lambda_wire.local.report import Report

__all__ = ["AnswerInvoke", "AnswerOther", "Caller", "serve_caller"]

AnswerInvoke: TypeAlias = "Callable[[InvokeAsked, Caller], Awaitable[None]]"
AnswerOther: TypeAlias = "Callable[[OtherAsked, Caller], Awaitable[None]]"

_MOST_AHEAD: Final = 65_536
"""How much of what a caller sends ahead is read while his call waits."""


class Caller:
    """Who is answered. One who has left is not told anything more: the function runs on, as on AWS.

    Attributes:
        address: His IP address.
        cut_off: Whether his connection was closed before he was answered whole.
    """

    def __init__(self, peer: Peer, connection: InvokeServiceConnection, report: Report) -> None:
        self._peer = peer
        self._connection = connection
        self._report = report
        self._gone = False
        self.address: str = peer.address
        self.cut_off: bool = False

    async def send(self, answer: InvokeAnswer | Refused | Continue) -> None:
        """Answer an Invoke."""
        await self._write(self._connection.send_buffers(answer, date=_now()))

    async def refuse(self, refusal: InvokeRefused) -> None:
        """Answer what cannot be called, with an id of its own, as every answer of the service has one."""
        refusal = replaced(refusal, request_id=fresh_request_id())
        self._report.refused(refusal)
        await self.send(refusal)

    async def stays_for(self, begun: asyncio.Future[None]) -> bool:
        """Wait until his call has begun; ``False`` when he left before. What he sends meanwhile is for later.

        Who has ended only his half counts as gone: nothing else is heard of whoever has closed his connection, until
        he is answered. Who sends much ahead is believed to stay, so that no more of it has to be read.
        """
        ahead = 0
        while not begun.done():
            if ahead >= _MOST_AHEAD:
                await asyncio.wait({begun})
                break
            try:
                data = await self._peer.read_unless(begun)
            except OSError:
                data = b""
            if data == b"":
                break
            if data is not None:
                self._connection.receive_data(data)
                ahead += len(data)
        return begun.done()

    # -- plain HTTP

    async def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer. HEAD gets a length of 0 (FU-BODY-5)."""
        head_only = self._connection.turns.head.method == "HEAD"
        buffers = self._start(status, headers, 0 if head_only else len(body))
        buffers += self._connection.turns.part_buffers(body)
        await self._write(buffers + self._connection.turns.end_answer())

    async def begin(self, status: int, headers: Headers) -> bool:
        """Send the head of an answer whose body follows piece by piece; say whether it has one at all."""
        head_only = self._connection.turns.head.method == "HEAD"
        framing = self._connection.turns.framing(status, 0 if head_only else None)
        await self._write(self._start(status, headers, 0 if head_only else None))
        return framing.has_body

    def _start(self, status: int, headers: Headers, size: int | None) -> list[BytesLike]:
        return self._connection.start_answer(status, headers, size, date=_now(), reason=_reason(status))

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body at once, and wait while the caller does not take it."""
        await self._write(self._connection.turns.part_buffers(piece))

    async def end(self) -> None:
        """End the body."""
        await self._write(self._connection.turns.end_answer())

    def cut(self) -> None:
        """Close the connection after what was written, answered or not: the caller is to notice."""
        self.cut_off = True
        self._connection.abandon()

    async def _write(self, buffers: list[BytesLike]) -> None:
        if self._gone or not buffers:
            return
        try:
            await self._peer.write(buffers)
        except OSError:
            self._gone = True


def _now() -> str:
    return formatdate(usegmt=True)


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


async def serve_caller(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    invoke: AnswerInvoke,
    other: AnswerOther,
    report: Report,
) -> None:
    """Read requests and have them answered, until the caller leaves or the connection cannot go on."""
    peer, connection = Peer(reader, writer), InvokeServiceConnection()
    caller = Caller(peer, connection, report)
    while not connection.must_close:
        try:
            event = connection.next_event()
        except RemoteProtocolError as fault:
            if fault.reply is not None:
                await caller.send(fault.reply)
            break
        if isinstance(event, Signal):
            connection.receive_data(await peer.read())
        elif isinstance(event, ConnectionClosed):
            return
        elif isinstance(event, InvokeAsked):
            await invoke(event, caller)
        elif isinstance(event, OtherAsked):
            await other(event, caller)
        elif isinstance(event, InvokeViolation):
            await caller.refuse(event.reply)
        else:
            await caller.send(Continue())
    if not caller.cut_off:
        await peer.linger()

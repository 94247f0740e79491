"""One invocation on its way through the embedded Lambda: what was asked, and what comes back of it.

The environment that runs it is at one end (``start``, ``write``, ``end``), whoever called at the other (``started``,
``next_piece``). Between them lie only a few pieces: ``write`` waits until the caller takes what is there, so the
runtime is never read faster than the caller. Whoever calls must go on taking until the end, or ``discard`` the rest: a
caller that left does not disturb the function.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import deque
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._events import Invocation
from lambda_wire._http_event import media_type
from lambda_wire._record import field, record
from lambda_wire.local.bandwidth import Throttle
from lambda_wire.local.log import Log

__all__ = ["Call", "Failure", "Started", "fresh_request_id", "fresh_trace_id"]

_PIECES_AHEAD: Final = 4  # of at most 64 KiB each while streaming


def fresh_request_id() -> str:
    """Return a new request id, as AWS's look."""
    return str(uuid.uuid4())


def fresh_trace_id() -> str:
    """Return a new root of a trace: ``1-``, eight digits of the time, 24 random ones (AWS docs, X-Ray)."""
    return f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"


@record
class Started:
    """The response has begun."""

    content_type: str
    streaming: bool
    """Whether the runtime said that it streams, so that nothing is to be held back."""


@record
class Failure:
    """Why an invocation did not end well."""

    error_type: str
    document: bytes = field(repr=False)
    """The error document, as the caller of Invoke gets it."""
    cuts: bool = True
    """Whether a caller that already has a part of the response sees its connection cut."""
    status: str = "error"
    """What the REPORT line says."""


class Call:
    """One invocation.

    Args:
        payload: The event.
        request_id: Of the invocation; a new one when empty.
        trace_id: ``Root=...``; a new one when empty.
        client_context: JSON text.
        tenant_id: Of the caller.
        max_stream: The largest streamed response.

    Attributes:
        log: What was written while it ran.
        throttle: What holds its response back, if that is a stream.
        failure: Why it failed; ``None`` while it is under way and when it ended well.
        ended: Whether the response is complete or will never be.
        size: Bytes of the response so far.
        first_byte_at: When the first of them came, on the monotonic clock.
    """

    def __init__(
        self,
        payload: bytes,
        *,
        request_id: str = "",
        trace_id: str = "",
        client_context: str = "",
        tenant_id: str = "",
        max_stream: int = limits.MAX_STREAM,
    ) -> None:
        self.payload = payload
        self.request_id: str = request_id or fresh_request_id()
        self.trace_id: str = trace_id or f"Root={fresh_trace_id()};Parent={os.urandom(8).hex()};Sampled=0"
        self.client_context = client_context
        self.tenant_id = tenant_id
        self.max_stream = max_stream
        self.log: Log = Log()
        self.throttle: Throttle | None = None
        self.failure: Failure | None = None
        self.ended: bool = False
        self.size: int = 0
        self.first_byte_at: float | None = None
        self._started: Started | None = None
        self._pieces: deque[bytes] = deque()
        self._discarded = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._left = asyncio.Event()
        """Set when nobody waits for the response any more."""
        self._logged = asyncio.Event()

    def invocation(self, *, function_arn: str, invocation_id: str = "") -> Invocation:
        """Return what the runtime is told; when it has to be done, that is known when it begins."""
        return Invocation(
            request_id=self.request_id,
            payload=self.payload,
            invoked_function_arn=function_arn,
            trace_id=self.trace_id,
            client_context=self.client_context,
            tenant_id=self.tenant_id,
            invocation_id=invocation_id,
        )

    # -- the environment's end

    def start(self, content_type: str, *, streaming: bool) -> None:
        """Say that the response begins."""
        integration = media_type(content_type) == names.HTTP_INTEGRATION_RESPONSE
        self._started = Started(content_type=content_type, streaming=streaming or integration)
        self._news.set()

    async def write(self, piece: bytes) -> None:
        """Pass on bytes of the response, a stream's at its pace; wait while the caller has not taken those before."""
        if piece and self.throttle is not None and self._started is not None and self._started.streaming:
            await self.throttle.wait(len(piece), self._left)
        if self.ended or not piece:
            return
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()
        self.size += len(piece)
        if self._discarded:
            return
        self._pieces.append(piece)
        self._news.set()
        while len(self._pieces) >= _PIECES_AHEAD and not self.ended:
            self._room.clear()
            await self._room.wait()

    def end(self, failure: Failure | None = None) -> None:
        """Say how it ended. Only the first word counts."""
        if not self.ended:
            self.ended = True
            self.failure = failure
            self._news.set()
            self._room.set()
            self._left.set()

    def close_log(self) -> None:
        """Say that nothing more will be logged."""
        self._logged.set()

    # -- the caller's end

    async def started(self) -> Started | None:
        """Wait until the response begins; ``None`` when it ended without."""
        while self._started is None and not self.ended:
            await self._listen()
        return self._started

    async def next_piece(self) -> bytes | None:
        """Return the next bytes of the response as soon as they are there; ``None`` at its end, however that was."""
        while not self._pieces:
            if self.ended:
                return None
            await self._listen()
        self._room.set()
        return self._pieces.popleft()

    async def rest(self) -> bytes:
        """Return everything that has not been taken yet, at the end."""
        pieces: list[bytes] = []
        while (piece := await self.next_piece()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def discard(self) -> None:
        """Take nothing more: what comes is thrown away at once."""
        self._discarded = True
        self._pieces.clear()
        self._room.set()
        self._left.set()

    async def log_tail(self) -> bytes:
        """Wait until the environment is done with it, however it ended; return the end of its log.

        The runtime is done later than its response, which has to be taken or discarded: see the module.
        """
        await self._logged.wait()
        return self.log.tail()

    async def _listen(self) -> None:
        self._news.clear()
        await self._news.wait()

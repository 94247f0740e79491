"""What a handler returned, put on the wire.

Async handlers and async bodies run in one event loop that is kept across invocations. A handler and its body are one
task there, so what it holds across its ``yield``s (timeouts, cancel scopes, context variables) stays whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from lambda_wire import _names as names
from lambda_wire._fields import is_bytes_like
from lambda_wire._responses import Body, HttpResponse, StreamingResponse
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.failures import log_line
from lambda_wire.bootstrap.marshalling import write_json

if TYPE_CHECKING:
    import asyncio

__all__ = ["EventLoop", "send"]


class EventLoop:
    """The event loop of async handlers, made when the first of them needs it."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, None]) -> None:  # Any: what asyncio leaves open
        """Run ``work`` to its end."""
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
        try:
            self._runner.run(work)
        except (SystemExit, KeyboardInterrupt):  # raised in the loop: the handler's ``finally`` clauses run now
            self.close()
            raise

    def close(self) -> None:
        """Cancel what still runs and close the loop."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def send(result: object, answer: Answer, loop: EventLoop) -> None:
    """Answer with what the handler returned; when it is to be awaited, with what that gives.

    Raises:
        BaseException: What the handler raises while it is awaited or iterated.
        RuntimeFault: ``Runtime.MarshalError``: the value cannot be said in JSON.
        Malformed: The HTTP head is too large.
        TypeError: A body gave something else than bytes or text.
        StreamInterrupted, ConnectionLost, ProtocolError: The stream could not be sent to its end.
    """
    if _is_awaitable(result):
        loop.run(_send_awaited(result, answer))
        return
    body = _begin(result, answer)
    if isinstance(body, AsyncIterable):
        loop.run(_send_async(body, answer))
    elif body is not None:
        _send_body(body, answer)


async def _send_awaited(result: Awaitable[object], answer: Answer) -> None:
    body = _begin(await result, answer)
    if isinstance(body, AsyncIterable):
        await _send_async(body, answer)
    elif body is not None:
        _send_body(body, answer)


def _begin(result: object, answer: Answer) -> Body | None:
    """Begin to answer with ``result``; return the body that is still to be streamed, ``None`` when all is said."""
    if answer.begun:
        if result is not None:
            log_line(f"the handler used the response writer: the {type(result).__name__} that it returned is not sent")
        if not answer.ended:
            answer.finish()
        return None
    if isinstance(result, HttpResponse):
        answer.send_prelude(result.prelude)
        return result.body
    if isinstance(result, StreamingResponse):
        answer.content_type = result.content_type
        return result.body
    if _is_stream(result):
        return result
    if is_bytes_like(result):
        answer.respond(result, names.OCTET_STREAM)
    else:
        answer.respond(write_json(result), names.JSON)
    return None


def _is_awaitable(result: object) -> TypeGuard[Awaitable[object]]:
    return isinstance(result, Awaitable)


def _is_stream(result: object) -> TypeGuard[Iterator[bytes | str] | AsyncIterable[bytes | str]]:
    """Generators, and whatever else can only be read once: none of it is JSON. A list is a JSON array."""
    return isinstance(result, (Iterator, AsyncIterable))


def _send_body(body: bytes | str | Iterable[bytes | str], answer: Answer) -> None:
    if isinstance(body, (bytes, str)):
        answer.write(body)
    else:
        chunks = iter(body)
        try:
            for chunk in chunks:
                answer.write(chunk)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
    answer.finish()


async def _send_async(body: AsyncIterable[bytes | str], answer: Answer) -> None:
    chunks = aiter(body)
    try:
        async for chunk in chunks:
            answer.write(chunk)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    answer.finish()

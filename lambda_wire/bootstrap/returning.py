"""What a handler returned, put on the wire.

Async handlers and async bodies run in an event loop that is kept across invocations. A handler and its body are one
task there, so what it holds across its ``yield``s (timeouts, cancel scopes, context variables) stays whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator
from functools import partial
from typing import TypeGuard

from lambda_wire import _names as names
from lambda_wire._fields import is_bytes_like
from lambda_wire._responses import Body, HttpResponse, StreamingResponse
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.failures import log_line
from lambda_wire.bootstrap.marshalling import write_json
from lambda_wire.bootstrap.slot_loop import SlotLoop

__all__ = ["send"]


def send(result: object, answer: Answer, loop: SlotLoop, limit_s: float | None = None) -> None:
    """Answer with what the handler returned; when it is to be awaited, with what that gives.

    Args:
        result: What it returned.
        answer: Where to say it.
        loop: Where it is awaited, or iterated if that is to be awaited.
        limit_s: How long that may take before it is cancelled; for ever when ``None``.

    Raises:
        BaseException: What the handler raises while it is awaited or iterated.
        TimeoutError: It was cancelled after ``limit_s``.
        RuntimeFault: ``Runtime.MarshalError``: the value cannot be said in JSON.
        Malformed: The HTTP head is too large.
        TypeError: A body gave something else than bytes or text.
        StreamInterrupted, ConnectionLost, ProtocolError: The stream could not be sent to its end.
    """
    if _is_awaitable(result):
        loop.run(_send_async(result, answer, loop, limit_s))
        return
    body = _begin(result, answer)
    if isinstance(body, AsyncIterable):
        loop.run(_send_async(body, answer, loop, limit_s))
    elif body is not None:
        _send_body(body, answer)


async def _send_async(
    result: Awaitable[object] | AsyncIterable[bytes | str], answer: Answer, loop: SlotLoop, limit_s: float | None
) -> None:
    import asyncio

    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            if isinstance(result, AsyncIterable):
                await _send_async_body(result, answer, loop)
            else:
                await _send_awaited(result, answer, loop)
    except TimeoutError as fault:
        if limit.expired():
            raise TimeoutError("the handler was cancelled, because its deadline is near") from fault
        raise


async def _send_awaited(result: Awaitable[object], answer: Answer, loop: SlotLoop) -> None:
    returned = await result
    body = await loop.post(lambda: _begin(returned, answer))
    if isinstance(body, AsyncIterable):
        await _send_async_body(body, answer, loop)
    elif body is not None:
        await loop.post(partial(_send_body, body, answer))


def _begin(result: object, answer: Answer) -> Body | None:
    """Begin to answer with ``result``; return the body that is still to be streamed, ``None`` when all is said."""
    with answer.saying:  # another thread of the handler may be in the middle of it
        if answer.begun:
            if result is not None and answer.claimed:
                kind = type(result).__name__
                log_line(f"the handler used the response writer: the {kind} that it returned is not sent")
            answer.conclude()
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
    answer.conclude()  # a generator may have used the writer, and have finished it


async def _send_async_body(body: AsyncIterable[bytes | str], answer: Answer, loop: SlotLoop) -> None:
    chunks = aiter(body)
    try:
        async for chunk in chunks:
            await loop.post(partial(answer.write, chunk))
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    await loop.post(answer.conclude)

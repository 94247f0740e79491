"""Invoke and InvokeWithResponseStream, as the SDKs call them. Any name is this function's.

Invoke gets the bytes of a stream whole, prelude included, as octets (IN-ANSWER-8), and its error trailers instead of
them (IN-ERROR-6). How a stream ends that failed: see ``_complete``.
"""

from __future__ import annotations

import string
from base64 import b64encode
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._heads import field_value
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeAsked, InvokeComplete, PayloadChunk
from lambda_wire._types import Headers
from lambda_wire.local.call import Call, fresh_request_id
from lambda_wire.local.callers import Caller
from lambda_wire.local.pool import Pool

__all__ = ["answer_invoke"]

_REQUEST_ID: Final = names.X_AMZN_REQUEST_ID.lower()
_ID_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~")  # unreserved (RFC 3986, 2.3)
_MAX_ID: Final = 128
_VERSION: Final = "$LATEST"
_UNHANDLED: Final = "Unhandled"
#: How much of an error document is told: so much fits one message, whatever JSON makes of it, which is 12 bytes a
#: character (ES-MESSAGE-22).
_MOST_DETAILS: Final = limits.MAX_EVENT_STREAM_PAYLOAD // 16
#: Said of every function that streams (IN-ANSWER-9).
_OF_A_STREAM: Final[Headers] = ((names.X_AMZN_REMAPPED_CONTENT_LENGTH.lower(), "0"),)


async def answer_invoke(asked: InvokeAsked, caller: Caller, pool: Pool) -> None:
    """Answer one call with what the function brings. Nobody waits for one of the type ``Event``: it is run anyway."""
    request_id = _request_id(asked.headers)
    if asked.invocation_type == "DryRun" and not asked.streaming:
        await caller.send(InvokeAnswered(status=204, content_type="", request_id=request_id))
        return
    call = Call(
        asked.payload,
        request_id=request_id,
        trace_id=asked.trace_id,
        client_context=asked.client_context,
        tenant_id=asked.tenant_id,
        max_stream=limits.MAX_STREAM if asked.streaming else limits.MAX_PAYLOAD,
    )
    if asked.invocation_type == "Event" and not asked.streaming:
        pool.submit(call)
        call.discard()
        await caller.send(InvokeAnswered(status=202, content_type="", request_id=request_id))
    elif not await pool.begin(call, caller):
        return
    elif asked.streaming:
        await _stream(call, asked, caller)
    else:
        await caller.send(await _answer(call, asked))


def _request_id(headers: Headers) -> str:
    """Return the caller's id for his request if it can be one segment of the Runtime API's paths, else a new one."""
    given = field_value(headers, _REQUEST_ID)
    is_segment = 0 < len(given) <= _MAX_ID and _ID_CHARACTERS.issuperset(given) and given not in (".", "..")
    return given if is_segment else fresh_request_id()


async def _stream(call: Call, asked: InvokeAsked, caller: Caller) -> None:
    """Pass the response on as it comes: a message for each chunk of the function, the prelude among them."""
    started = await call.started()
    await caller.send(
        InvokeAccepted(
            content_type=(started.content_type if started is not None else "") or names.JSON,
            executed_version=_VERSION,
            request_id=call.request_id,
            trace_id=call.trace_id,
        )
    )
    while (piece := await call.next_piece()) is not None:
        await caller.send(PayloadChunk(payload=piece))
    await caller.send(await _complete(call, asked))


async def _complete(call: Call, asked: InvokeAsked) -> InvokeComplete:
    """Return how a stream ended.

    AWS's documents and code say that an error is told here; a recording has neither member, whatever failed. Documents
    and code are followed (ES-MESSAGE-21, ES-MESSAGE-23).
    """
    log_result, failure = await _log_result(call, asked), call.failure
    if failure is None:
        return InvokeComplete(log_result=log_result)
    details = failure.document.decode("utf-8", "replace")[:_MOST_DETAILS]
    return InvokeComplete(error_code=failure.error_type, error_details=details, log_result=log_result)


async def _answer(call: Call, asked: InvokeAsked) -> InvokeAnswered:
    started = await call.started()
    payload = await call.rest()
    content_type, function_error, headers = names.JSON, "", Headers()
    if call.failure is not None:
        payload, function_error = call.failure.document, _UNHANDLED
    elif started is not None and started.streaming:
        content_type, headers = names.OCTET_STREAM, _OF_A_STREAM
    elif started is not None and started.content_type:
        content_type = started.content_type
    return InvokeAnswered(
        payload=payload,
        content_type=content_type,
        function_error=function_error,
        headers=headers,
        log_result=await _log_result(call, asked),
        executed_version=_VERSION,
        request_id=call.request_id,
        trace_id=call.trace_id,
    )


async def _log_result(call: Call, asked: InvokeAsked) -> str:
    return b64encode(await call.log_tail()).decode("ascii") if asked.log_type == "Tail" else ""

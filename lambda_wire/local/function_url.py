"""The function URL: an HTTP request becomes an event, and the response is mapped out, each piece as it comes.

A stream is answered when its first bytes are there, or its prelude, so that an error before them is still a 502. What
AWS was recorded to do with streams that fail or stay empty is done here too, and the terminal says what the caller
cannot see. Sources: see ``_http_event``; recordings of 2026-09.
"""

from __future__ import annotations

import json
import os
import time
from typing import Final

from lambda_wire import _names as names
from lambda_wire._heads import field_value
from lambda_wire._http_event import (
    INTERNAL_SERVER_ERROR,
    UrlRequest,
    buffered_response,
    function_url_event,
    media_type,
    streamed_head,
)
from lambda_wire._invoke_asks import too_large_for_url
from lambda_wire._invoke_events import OtherAsked
from lambda_wire._limits import MAX_INVOKE_EVENT
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import PreludeDecoder
from lambda_wire._signals import NEED_DATA
from lambda_wire._types import Headers
from lambda_wire.local.call import Call, Failure, Started, fresh_request_id, fresh_trace_id
from lambda_wire.local.callers import Caller
from lambda_wire.local.failures import STOPPED
from lambda_wire.local.pool import Pool
from lambda_wire.local.report import Report

__all__ = ["answer_url"]

#: Other names stay in lower case (FU-HEAD-8).
_SPELLED: Final = {"set-cookie": "Set-Cookie"}
_EMPTY: Final = (
    "The stream had no body. AWS leaves its caller waiting for the end for minutes, and drops status and headers "
    "unless the prelude was sent; here it was ended. Write at least one byte."
)
_UNNOTICED: Final = (
    "The response had begun when this error came. Its body was ended as if it were complete, as AWS does: "
    "the caller cannot tell."
)
_CUT: Final = "The response had begun. The caller's connection was cut, as AWS does."
_STOPPED: Final = "The response had begun. The caller's connection was cut, because the embedded Lambda was stopped."


async def answer_url(request: OtherAsked, caller: Caller, pool: Pool, report: Report, port: int) -> None:
    """Answer one request to the function URL with what a call of the function brings."""
    request_id = fresh_request_id()
    root = fresh_trace_id()
    given = field_value(request.headers, names.X_AMZN_TRACE_ID.lower())
    event = _event(request, caller.address, request_id, f"Self={fresh_trace_id()};{given or f'Root={root}'}", port)
    payload = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    if len(payload) > MAX_INVOKE_EVENT:
        await caller.refuse(too_large_for_url(MAX_INVOKE_EVENT))
        return
    trace_id = given or f"Root={root};Parent={os.urandom(8).hex()};Sampled=0"
    call = Call(payload, request_id=request_id, trace_id=trace_id)
    if await pool.begin(call, caller):
        await _UrlAnswer(call, caller, report).give()


def _event(request: OtherAsked, source_ip: str, request_id: str, trace_id: str, port: int) -> dict[str, object]:
    target = request.target
    if not target.startswith("/"):  # absolute form, or "*"
        target = "/" + target.partition("://")[2].partition("/")[2]
    host = field_value(request.headers, "host")
    return function_url_event(
        UrlRequest(
            method=request.method,
            target=target,
            headers=request.headers,
            body=request.body,
            source_ip=source_ip,
            request_id=request_id,
            trace_id=trace_id,
            time_ms=int(time.time() * 1000),
            domain_name=_without_port(host) or "localhost",
            port=port,
            protocol=f"HTTP/{request.http_version}",
        )
    )


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


class _UrlAnswer:
    """Maps one call's response onto one answer."""

    def __init__(self, call: Call, caller: Caller, report: Report) -> None:
        self._call = call
        self._caller = caller
        self._has_body = True
        self._report = report
        self._first: Headers = ((names.X_AMZN_REQUEST_ID, call.request_id),)
        self._last: Headers = ((names.X_AMZN_TRACE_ID, call.trace_id),)

    async def give(self) -> None:
        """Answer, however it ends; what the caller does not take is thrown away."""
        started = await self._call.started()
        if started is None:
            await self._refuse()
        elif not started.streaming:
            await self._give_buffered()
        elif media_type(started.content_type) == names.HTTP_INTEGRATION_RESPONSE:
            await self._give_with_prelude()
        else:
            await self._give_plain(started)
        self._call.discard()

    async def _give_buffered(self) -> None:
        payload = await self._call.rest()
        if self._call.failure is not None:
            await self._refuse()
            return
        status, headers, body = buffered_response(payload)
        if self._is_final(status):
            await self._caller.answer(status, self._completed(headers), body)
        else:
            await self._refuse()

    async def _give_plain(self, started: Started) -> None:
        first = await self._call.next_piece()
        if first is None and self._call.failure is not None:
            await self._refuse()
            return
        await self._begin(200, ((names.CONTENT_TYPE, started.content_type or names.OCTET_STREAM),))
        await self._stream(first or b"")

    async def _give_with_prelude(self) -> None:
        decoder = PreludeDecoder()
        try:
            while (prelude := decoder.next_prelude()) is NEED_DATA:
                piece = await self._call.next_piece()
                if piece is None and self._call.failure is not None:
                    await self._refuse()
                    return
                if piece is None and not self._call.size:  # nothing at all: not even the prelude
                    await self._begin(200, ((names.CONTENT_TYPE, names.OCTET_STREAM),))
                    await self._stream(b"")
                    return
                if piece is None:
                    decoder.end()
                else:
                    decoder.feed(piece)
            status, headers = streamed_head(prelude)
        except Malformed as fault:
            self._report.warn(self._call, f"The prelude cannot be understood, the caller gets 502: {fault}")
            await self._refuse()
            return
        if self._is_final(status):
            await self._begin(status, headers)
            await self._stream(decoder.rest())
        else:
            await self._refuse()

    async def _begin(self, status: int, headers: Headers) -> None:
        self._has_body = await self._caller.begin(status, self._completed(headers))

    async def _stream(self, first: bytes) -> None:
        """Send the body as it comes, and end it as AWS does."""
        size = len(first)
        await self._caller.write(first)
        while (piece := await self._call.next_piece()) is not None:
            size += len(piece)
            await self._caller.write(piece)
        failure = self._call.failure
        if failure is not None:
            await self._end_failed(failure)
            return
        if not size and self._has_body:
            self._report.warn(self._call, _EMPTY)
        await self._caller.end()

    async def _end_failed(self, failure: Failure) -> None:
        if failure.cuts:
            self._report.warn(self._call, _STOPPED if failure.status == STOPPED else _CUT)
            self._caller.cut()
        else:
            self._report.warn(self._call, _UNNOTICED)
            await self._caller.end()

    async def _refuse(self) -> None:
        """The function failed before it answered. AWS sends no trace id then (FU-BODY-29)."""
        status, headers, body = INTERNAL_SERVER_ERROR
        await self._caller.answer(status, (*headers, *self._first), body)

    def _is_final(self, status: int) -> bool:
        """Say whether a status ends an answer, and warn when it does not."""
        if status < 200:
            self._report.warn(self._call, f"Status {status} cannot end an answer; the caller gets 502.")
        return status >= 200

    def _completed(self, headers: Headers) -> Headers:
        """Return the fields of an answer with the service's own."""
        content_type = tuple(pair for pair in headers if pair[0].lower() == "content-type")
        others = tuple((_SPELLED.get(name, name), value) for name, value in headers if name.lower() != "content-type")
        return (*content_type, *self._first, *others, *self._last)

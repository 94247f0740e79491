"""What each fuzz target begins with: messages that our own encoders write, and a few that only others write.

Chance alone finds no head and no checksum. These are within the small limits of the targets but for one or two that are
meant to be beyond, so that invocations, chunks and ends are heard, and what is nearly right is near.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lambda_wire._chunked import encode_chunk, encode_end
from lambda_wire._error_payload import ErrorPayload, XrayException, XrayFrame, encode_error, encode_xray_cause
from lambda_wire._event_headers import EventStreamHeader, HeaderType
from lambda_wire._event_stream import EventStreamMessage, encode_event_stream
from lambda_wire._events import (
    Accepted,
    Answer,
    Ask,
    BufferedResponse,
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
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._invocation import encode_invocation
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._prelude import Prelude, encode_prelude
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._service import ServiceConnection

__all__ = ["SEEDS"]

_ID: Final = "id"
_EVENT: Final = Invocation(request_id=_ID, payload=b"{}")
_TRAILERS: Final = (("Lambda-Runtime-Function-Error-Type", "Function.E"), ("X", ""))
_ERROR: Final = ErrorPayload(error_message="it failed: \u00e9", error_type="Function.E", stack_trace=("a.py:1", "b"))
_CALL: Final = InvokeAsked(function_name="f", payload=b"{}")
_FULL_CALL: Final = InvokeAsked(
    function_name="f", qualifier="$LATEST", log_type="Tail", client_context="{}", tenant_id="t", trace_id="Root=1"
)
_STREAMED: Final = InvokeAsked(function_name="f", payload=b"[]", streaming=True)
_HEADERS: Final = (
    EventStreamHeader(name=":message-type", value="event"),
    EventStreamHeader(name="flag", value=True, type=HeaderType.BOOLEAN),
    EventStreamHeader(name="count", value=-7, type=HeaderType.INTEGER),
    EventStreamHeader(name="bytes", value=b"\x00\xff", type=HeaderType.BYTE_ARRAY),
)


# -- codecs


def _chunked() -> list[bytes]:
    body = encode_chunk(b"first") + encode_chunk(b"x" * 17)
    return [
        body + encode_end(()),
        body + encode_end(_TRAILERS) + b"left",
        b"A;name=value\r\n0123456789\r\n0\r\n\r\n",
        body,
    ]


def _error_payload() -> list[bytes]:
    cause = XrayException(type="E", message="m", stack=(XrayFrame(path="a.py", line=1, label="f"),))
    xray = encode_xray_cause("E", (cause,), ("a.py",), max_bytes=1024)
    return [
        encode_error(_ERROR),
        b'{"errorType": "E"}',
        xray.encode(),
        b"Function.E",
        "\u00e9\ud800".encode(errors="surrogatepass"),
    ]


def _event_stream() -> list[bytes]:
    headers, empty = _HEADERS, EventStreamMessage(headers=(), payload=b"")
    message = encode_event_stream(EventStreamMessage(headers=headers, payload=b"payload"))
    block = message[12 : -len(b"payload") - 4]
    return [
        message,
        message * 2,
        encode_event_stream(empty),
        message[:-1] + b"?",
        bytes((len(block),)) + block + b"payload",
    ]


def _prelude() -> list[bytes]:
    whole = Prelude(status_code=201, headers=(("content-type", "text/plain"), ("x", "")), cookies=("a=b", "c=d"))
    return [encode_prelude(whole) + b"body", encode_prelude(Prelude(status_code=200)), b"{}" + bytes(8) + b"\x00body"]


def _addresses() -> list[bytes]:
    return [
        b"127.0.0.1:9001",
        b"[::1]:9001",
        b"::1:80",
        b"http://localhost:9000/",
        b"https://lambda.us-east-1.amazonaws.com",
        b"http://[::ffff:127.0.0.1]:65535",
    ]


def _percents() -> list[bytes]:
    return [b"a%20b", b"%C3%A9/%e9", b"100%", b"%%41%4", "\u00e9+~".encode()]


def _invocation() -> list[bytes]:
    full = Invocation(
        request_id=_ID,
        payload=b"",
        deadline_ms=1_700_000_000_000,
        invoked_function_arn="arn:aws:lambda:us-east-1:1:function:f",
        trace_id="Root=1;Sampled=0",
        client_context='{"k":"\u00e9"}',
        cognito_identity="{}",
        tenant_id="t",
        invocation_id="i",
        headers=(("x-b", ""), ("x-a", "1")),
    )
    told = "\r\n".join(map(": ".join, encode_invocation(full))).encode()
    return [told, told.replace(b"1700000000000", b"soon"), b"Lambda-Runtime-Aws-Request-Id: id\r\nDate: now", b"x-a: 1"]


# -- HTTP/1.1

_POST: Final = b"POST /a HTTP/1.1\r\nHost: a\r\n"
_GET: Final = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def _http11() -> list[bytes]:
    chunks = encode_chunk(b"first") + encode_chunk(b"second") + encode_end(_TRAILERS)
    return [
        _GET,
        _POST + b"Content-Length: 2\r\n\r\n{}" + _GET,
        _POST + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + chunks + _GET,
        _POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ]


def _plain_heads() -> list[bytes]:
    odd = b"content-length:7 \r\nX-Folded: a\r\n b\r\nConnection: close, x"
    return [
        b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: a",
        b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16",
        b"Content-Length: 5\r\nX-Other: \xe9",
        b"Transfer-Encoding: chunked\r\nTrailer: X",
        odd,
    ]


def _http_event() -> list[bytes]:
    form = b"Content-Type: text/plain;a=b\r\nCookie: a=1; b=2\r\nX: 1\r\nX: \xe9\r\nContent-Length: 2\r\n\r\n{}"
    return [
        b"GET /a%20b?c=d&c=%C3%A9+f HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n",
        _POST + form,
        _POST + b"Transfer-Encoding: chunked\r\n\r\n" + encode_chunk(b"\xff") + encode_end(()),
        b'{"statusCode":201,"headers":{"Content-Type":"text/plain","Server":"x","TE":"y"},"cookies":["a=b"],"body":"c"}',
        b'{"statusCode":"200","body":"aGk-_w==","isBase64Encoded":true}',
        b'{"statusCode":200,"body":{"a":[1]}}',
        b'{"statusCode":700}',
        b'"text"',
        b"[1, 2]",
        *_prelude(),
    ]


# -- the Runtime API


def _answer_to(ask: Ask) -> Answer | None:
    """Return what a service that is content answers; nothing to a part of a stream."""
    match ask:
        case NextAsked():
            return _EVENT
        case RestoreAsked():
            return RestoreReady()
        case PingAsked():
            return Pong()
        case ResponseStarted() | ResponseChunk():
            return None
        case _:
            return Accepted()


def _conversation(*asks: Ask) -> tuple[bytes, bytes]:
    """Return all that a runtime says in these words, and all that is said to it."""
    runtime = RuntimeConnection(host="a", lifecycle=StandardLifecycle(snap_start=True))
    service = ServiceConnection(StandardLifecycle(snap_start=True))
    asked, answered = b"", b""
    for ask in asks:
        said = runtime.send(ask)
        asked += said
        service.receive_data(said)
        while service.next_event() == ask and (answer := _answer_to(ask)) is not None:
            said = service.send(answer)
            answered += said
            runtime.receive_data(said)
            runtime.next_event()
    return asked, answered


_STARTED: Final = ResponseStarted(request_id=_ID, content_type="text/plain")
_CHUNKS: Final = (ResponseChunk(data=b"first"), ResponseChunk(data=b"second"))
_CONVERSATIONS: Final[tuple[tuple[Ask, ...], ...]] = (
    (NextAsked(),),
    (NextAsked(), BufferedResponse(request_id=_ID, payload=b"{}"), NextAsked()),
    (NextAsked(), BufferedResponse(request_id=_ID, payload=b"x" * 65)),
    (NextAsked(), _STARTED, *_CHUNKS, ResponseFinished(), NextAsked()),
    (NextAsked(), _STARTED, *_CHUNKS, ResponseFailed(error_type="Function.E", error_body=b"{}")),
    (NextAsked(), _STARTED, ResponseChunk(data=b"x" * 33), ResponseFinished()),
    (NextAsked(), ErrorReported(request_id=_ID, error_type="Function.E", payload=encode_error(_ERROR)[:16])),
    (InitErrorReported(error_type="Runtime.E", payload=b"{}"),),
    (RestoreAsked(), NextAsked()),
    (RestoreAsked(), RestoreErrorReported(error_type="Runtime.E", payload=b"{}")),
    (PingAsked(), NextAsked()),
)


def _service() -> list[bytes]:
    return [_conversation(*asks)[0] for asks in _CONVERSATIONS]


def _runtime() -> list[bytes]:
    poll, service = RuntimeConnection(host="a").send(NextAsked()), ServiceConnection()
    service.receive_data(poll)
    service.next_event()
    head, _, _ = service.send(_EVENT).partition(b"Content-Length: ")
    in_chunks = head + b"Transfer-Encoding: chunked\r\n\r\n" + encode_chunk(b"{}") + encode_end(())
    one_each = (NextAsked(), RestoreAsked(), PingAsked(), InitErrorReported(error_type="Runtime.E", payload=b"{}"))
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    return [in_chunks, refused, *(_conversation(ask)[1] for ask in one_each)]


# -- Invoke


def _answers(call: InvokeAsked, *answers: InvokeAnswer) -> bytes:
    """Return what a service says to a call."""
    caller, service = InvokeConnection(host="a"), InvokeServiceConnection()
    service.receive_data(caller.send(call))
    service.next_event()
    return b"".join(map(service.send, answers))


def _invoke() -> list[bytes]:
    chunks = PayloadChunk(payload=b"first"), PayloadChunk(payload=b"second")
    accepted = InvokeAccepted(request_id="id", executed_version="1")
    streams = [
        _answers(_STREAMED, accepted, *chunks, InvokeComplete()),
        _answers(_STREAMED, accepted, *chunks, InvokeComplete(error_code="E", error_details="why", log_result="bG9n")),
        _answers(_STREAMED, accepted, InvokeFailed(error_code="InternalError", message="no")),
    ]
    bodies = [stream.partition(b"\r\n\r\n")[2] for stream in streams]
    messages = [body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0] for body in bodies]
    refused = InvokeRefused(status=429, error_type="TooManyRequestsException", message="wait")
    return [
        _answers(_CALL, InvokeAnswered(payload=b"[]", function_error="Unhandled", log_result="bG9n")),
        _answers(_CALL, InvokeAnswered(payload=b"x" * 65)),
        _answers(_CALL, refused),
        *streams,
        *bodies,
        *messages,
    ]


def _invoke_service() -> list[bytes]:
    calls = [InvokeConnection(host="a").send(call) for call in (_CALL, _FULL_CALL, _STREAMED)]
    over = InvokeConnection(host="a").send(InvokeAsked(function_name="f", payload=b"x" * 17))
    waiting = calls[0].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1)
    return [*calls, calls[0] + calls[2], over, waiting, _GET, _POST + b"Content-Length: 2\r\n\r\n{}"]


#: A target's file, without its suffix -> what makes its seeds.
SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "fuzz_addresses": _addresses,
    "fuzz_chunked": _chunked,
    "fuzz_error_payload": _error_payload,
    "fuzz_event_stream": _event_stream,
    "fuzz_http11": _http11,
    "fuzz_http_event": _http_event,
    "fuzz_invocation": _invocation,
    "fuzz_invoke": _invoke,
    "fuzz_invoke_service": _invoke_service,
    "fuzz_percents": _percents,
    "fuzz_plain_heads": _plain_heads,
    "fuzz_prelude": _prelude,
    "fuzz_runtime": _runtime,
    "fuzz_service": _service,
}

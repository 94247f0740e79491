"""One streamed invocation without a socket: poll, event, head, HTTP prelude, one chunk, end, acceptance.

A state machine cannot open a stream twice, so its step is the whole round, and h11's as well. The floor reads the
request id where it knows it to be, and writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench.clients.job import Step
from lambda_wire import (
    Invocation,
    NextAsked,
    Prelude,
    ResponseChunk,
    ResponseFinished,
    ResponseStarted,
    RuntimeConnection,
    ServiceConnection,
    encode_prelude,
)

__all__ = ["STEPS"]

_ID: Final = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
_TYPE: Final = "application/vnd.awslambda.http-integration-response"
_CHUNK: Final = b"x" * 64
_PRELUDE: Final = b'{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}' + bytes(8)


def _answers() -> tuple[bytes, bytes]:
    """Return what a service answers to the poll, and to the stream."""
    runtime, service = RuntimeConnection(host="127.0.0.1:9001"), ServiceConnection()
    service.receive_data(runtime.send(NextAsked()))
    service.next_event()
    accepted = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    return service.send(Invocation(request_id=_ID, payload=b"{}")), accepted + b'{"status":"OK"}\n'


def _ours(_: int) -> Step:
    event, accepted = _answers()
    runtime = RuntimeConnection(host="127.0.0.1:9001")

    def step() -> None:
        runtime.send(NextAsked())
        runtime.receive_data(event)
        runtime.next_event()
        runtime.send_buffers(ResponseStarted(request_id=_ID, content_type=_TYPE))
        prelude = encode_prelude(Prelude(status_code=200, headers=(("content-type", "text/plain"),)))
        runtime.send_buffers(ResponseChunk(data=prelude))
        runtime.send_buffers(ResponseChunk(data=_CHUNK))
        runtime.send_buffers(ResponseFinished())
        runtime.receive_data(accepted)
        runtime.next_event()

    return step


def _h11(_: int) -> Step:
    import json

    import h11

    event, accepted = _answers()
    connection = h11.Connection(h11.CLIENT)
    host, agent = (b"host", b"127.0.0.1:9001"), (b"user-agent", b"h11")
    headers = [
        host,
        agent,
        (b"content-type", _TYPE.encode()),
        (b"lambda-runtime-function-response-mode", b"streaming"),
        (b"transfer-encoding", b"chunked"),
        (b"trailer", b"lambda-runtime-function-error-type, lambda-runtime-function-error-body"),
    ]

    def finish(answer: bytes) -> None:
        connection.send(h11.EndOfMessage())
        connection.receive_data(answer)
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass
        connection.start_next_cycle()

    def step() -> None:
        target = "/2018-06-01/runtime/invocation/next"
        connection.send(h11.Request(method="GET", target=target, headers=[host, agent]))
        finish(event)
        target = f"/2018-06-01/runtime/invocation/{_ID}/response"
        connection.send(h11.Request(method="POST", target=target, headers=headers))
        head = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "cookies": []}
        connection.send(h11.Data(data=json.dumps(head).encode() + bytes(8)))
        connection.send(h11.Data(data=_CHUNK))
        finish(accepted)

    return step


def _floor(_: int) -> Step:
    event, _accepted = _answers()
    head = (
        b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: floor\r\n"
        b"Content-Type: " + _TYPE.encode() + b"\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
        b"Transfer-Encoding: chunked\r\n"
        b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
    )
    at = event.index(_ID.encode())

    def step() -> bytes:
        framed = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_PRELUDE), _PRELUDE, len(_CHUNK), _CHUNK)
        return head % event[at : at + 36] + framed

    return step


STEPS: Final[dict[str, dict[str, Callable[[int], Step]]]] = {
    "open-stream": {"floor": _floor, "ours": _ours, "h11": _h11}
}

"""A streamed response without a socket: how it is opened, how a chunk is framed, and one invocation as a whole.

A state machine cannot open a stream twice, so many that have polled are prepared, and each is opened once: head, HTTP
prelude (its bytes; how they are made is measured with the prelude) and one chunk. To ``frame`` is to say a chunk after
another, in a stream that is then ended, as a driver does that sends each at once. The whole is poll, event, head,
prelude from its fields, chunk, end and acceptance. The floor reads the request id where it knows it to be, and writes.
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

__all__ = ["PREPARED", "STEPS"]

#: Streams that a step opens, and chunks that it frames: ``per`` of their works.
_STREAMS: Final = 64
_CHUNKS: Final = 1000
_ID: Final = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
_TYPE: Final = "application/vnd.awslambda.http-integration-response"
_CHUNK: Final = b"x" * 64
_HEADERS: Final = [
    (b"host", b"127.0.0.1:9001"),
    (b"user-agent", b"h11"),
    (b"content-type", _TYPE.encode()),
    (b"lambda-runtime-function-response-mode", b"streaming"),
    (b"transfer-encoding", b"chunked"),
    (b"trailer", b"lambda-runtime-function-error-type, lambda-runtime-function-error-body"),
]
_PRELUDE: Final = b'{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}' + bytes(8)


def _answers() -> tuple[bytes, bytes]:
    """Return what a service answers to the poll, and to the stream."""
    runtime, service = RuntimeConnection(host="127.0.0.1:9001"), ServiceConnection()
    service.receive_data(runtime.send(NextAsked()))
    service.next_event()
    accepted = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    return service.send(Invocation(request_id=_ID, payload=b"{}")), accepted + b'{"status":"OK"}\n'


_HEAD: Final = (
    b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: floor\r\n"
    b"Content-Type: " + _TYPE.encode() + b"\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
)


def _opening_ours() -> Step:
    event, _accepted = _answers()
    ready = [RuntimeConnection(host="127.0.0.1:9001") for _ in range(_STREAMS)]
    for runtime in ready:
        runtime.send(NextAsked())
        runtime.receive_data(event)
        runtime.next_event()

    def step() -> None:
        for runtime in ready:
            runtime.send_buffers(ResponseStarted(request_id=_ID, content_type=_TYPE))
            runtime.send_chunks((_PRELUDE, _CHUNK))

    return step


def _opening_h11() -> Step:
    import h11

    ready = [h11.Connection(h11.CLIENT) for _ in range(_STREAMS)]
    target = f"/2018-06-01/runtime/invocation/{_ID}/response"

    def step() -> None:
        for connection in ready:
            connection.send(h11.Request(method="POST", target=target, headers=_HEADERS))
            connection.send(h11.Data(data=_PRELUDE))
            connection.send(h11.Data(data=_CHUNK))

    return step


def _opening_floor() -> Step:
    event, _accepted = _answers()
    at = event.index(_ID.encode())

    def step() -> None:
        for _ in range(_STREAMS):
            _HEAD % event[at : at + 36] + b"%x\r\n%b\r\n%x\r\n%b\r\n" % (len(_PRELUDE), _PRELUDE, len(_CHUNK), _CHUNK)

    return step


def _framing_ours(_: int) -> Step:
    event, accepted = _answers()
    runtime = RuntimeConnection(host="127.0.0.1:9001")

    def step() -> None:
        runtime.send(NextAsked())
        runtime.receive_data(event)
        runtime.next_event()
        runtime.send_buffers(ResponseStarted(request_id=_ID, content_type=_TYPE))
        for _ in range(_CHUNKS):
            runtime.send_chunks((_CHUNK,))
        runtime.send_buffers(ResponseFinished())
        runtime.receive_data(accepted)
        runtime.next_event()

    return step


def _framing_h11(_: int) -> Step:
    import h11

    def step() -> None:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="POST", target="/", headers=_HEADERS))
        for _ in range(_CHUNKS):
            connection.send(h11.Data(data=_CHUNK))

    return step


def _framing_floor(_: int) -> Step:
    head = b"%x\r\n" % len(_CHUNK)

    def step() -> None:
        for _ in range(_CHUNKS):
            b"".join((head, _CHUNK, b"\r\n"))

    return step


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

    def finish(answer: bytes) -> None:
        connection.send(h11.EndOfMessage())
        connection.receive_data(answer)
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass
        connection.start_next_cycle()

    def step() -> None:
        target = "/2018-06-01/runtime/invocation/next"
        connection.send(h11.Request(method="GET", target=target, headers=_HEADERS[:2]))
        finish(event)
        target = f"/2018-06-01/runtime/invocation/{_ID}/response"
        connection.send(h11.Request(method="POST", target=target, headers=_HEADERS))
        head = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "cookies": []}
        connection.send(h11.Data(data=json.dumps(head).encode() + bytes(8)))
        connection.send(h11.Data(data=_CHUNK))
        finish(accepted)

    return step


def _floor(_: int) -> Step:
    event, _accepted = _answers()
    at = event.index(_ID.encode())

    def step() -> bytes:
        framed = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_PRELUDE), _PRELUDE, len(_CHUNK), _CHUNK)
        return _HEAD % event[at : at + 36] + framed

    return step


STEPS: Final[dict[str, dict[str, Callable[[int], Step]]]] = {
    "frame": {"floor": _framing_floor, "ours": _framing_ours, "h11": _framing_h11},
    "whole-stream": {"floor": _floor, "ours": _ours, "h11": _h11},
}
PREPARED: Final[dict[str, dict[str, Callable[[], Step]]]] = {
    "open-stream": {"floor": _opening_floor, "ours": _opening_ours, "h11": _opening_h11},
}

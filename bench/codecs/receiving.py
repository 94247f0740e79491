"""A streamed response as the service's end reads it: chunked, ended by the two error trailers, 64 KiB a read.

All hand out the data of the body. The floor knows how long each chunk is and where it lies, and copies nothing of a
read that is all data; with chunks of mixed sizes it reads the size lines. It checks nothing. httptools is C.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from bench.clients.job import Step
from lambda_wire import (
    NEED_DATA,
    Invocation,
    NextAsked,
    ResponseFailed,
    ResponseStarted,
    RuntimeConnection,
    ServiceConnection,
    encode_chunk,
    encode_end,
    encode_trailers,
)

__all__ = ["STEPS"]

_READ: Final = 65_536
_ID: Final = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
_LEAST: Final = 1 << 20
_MOST_MIXED: Final = 20_000
_POLL: Final = RuntimeConnection(host="127.0.0.1:9001").send(NextAsked())
_INVOCATION: Final = Invocation(request_id=_ID, payload=b"{}")


def _sizes(size: int) -> list[int]:
    """Return the size of every chunk: a megabyte of them at least; for 0 of mixed sizes, always the same."""
    if size:
        return [size] * max(4, _LEAST // size)
    dice = random.Random(7)  # repeatable
    return [min(_MOST_MIXED, int(dice.lognormvariate(6, 1.5)) + 1) for _ in range(800)]


def _body(size: int) -> bytes:
    trailers = encode_trailers("Function.Failed", b'{"errorMessage":"it failed","errorType":"Function.Failed"}')
    return b"".join([*(encode_chunk(b"x" * each) for each in _sizes(size)), encode_end(trailers)])


def _reads(data: bytes) -> list[bytes]:
    return [data[at : at + _READ] for at in range(0, len(data), _READ)]


def _request(size: int) -> list[bytes]:
    runtime, service = RuntimeConnection(host="127.0.0.1:9001"), ServiceConnection()
    service.receive_data(runtime.send(NextAsked()))
    service.next_event()
    runtime.receive_data(service.send(_INVOCATION))
    runtime.next_event()
    return _reads(runtime.send(ResponseStarted(request_id=_ID)) + _body(size))


def _ours(size: int) -> Step:
    reads = _request(size)

    def step() -> None:
        service = ServiceConnection()
        service.receive_data(_POLL)
        service.next_event()
        service.send(_INVOCATION)
        event: object = None
        for read in reads:
            service.receive_data(read)
            while (found := service.next_event()) is not NEED_DATA:
                event = found
                if isinstance(event, ResponseFailed):
                    return
        raise AssertionError(f"the stream ended with {event!r}")

    return step


def _h11(size: int) -> Step:
    import h11

    reads = _request(size)

    def step() -> None:
        connection = h11.Connection(h11.SERVER)
        for read in reads:
            connection.receive_data(read)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    return
        raise AssertionError("the stream did not end")

    return step


def _httptools(size: int) -> Step:
    import httptools

    reads = _request(size)

    class Told:
        def __init__(self) -> None:
            self.pieces: list[bytes] = []
            self.complete = False

        def on_body(self, piece: bytes) -> None:
            self.pieces.append(piece)

        def on_message_complete(self) -> None:
            self.complete = True

    def step() -> None:
        told = Told()
        parser = httptools.HttpRequestParser(told)
        for read in reads:
            parser.feed_data(read)
        assert told.complete

    return step


def _floor(size: int) -> Step:
    reads = _request(size)
    head = reads[0].index(b"\r\n\r\n") + 4
    if not size:
        return _floor_mixed(reads, head)
    start = len(b"%x\r\n" % size)
    stride = start + size + 2

    def small() -> None:
        out: list[bytes] = []
        left = b""
        for number, read in enumerate(reads):
            window = left + (read if number else read[head:])
            whole = len(window) // stride * stride
            out += [window[at + start : at + start + size] for at in range(0, whole, stride)]
            left = window[whole:]

    def large() -> None:
        out: list[bytes] = []
        at = -head  # where this read begins, in the body
        for read in reads:
            for piece in _data_of(read, at % stride if at >= 0 else at, start, size, stride):
                out.append(piece)  # noqa: PERF402  # as a driver hands them out
            at += len(read)

    return large if size >= _READ else small


def _data_of(read: bytes, at: int, start: int, size: int, stride: int) -> Iterator[bytes]:
    """Yield the data in a read that begins ``at`` bytes into a chunk (before it, where negative)."""
    begin = start - at
    while begin < len(read):
        end = begin + size
        yield read[max(0, begin) : max(0, min(len(read), end))]
        begin += stride


def _floor_mixed(reads: list[bytes], head: int) -> Step:
    def step() -> None:
        out: list[bytes] = []
        left = b""
        for number, read in enumerate(reads):
            window = left + (read if number else read[head:])
            at = 0
            while (line := window.find(b"\r\n", at)) > 0:
                size = int(window[at:line], 16)
                end = line + 2 + size
                if not size or end + 2 > len(window):
                    break
                out.append(window[line + 2 : end])
                at = end + 2
            left = window[at:]

    return step


_COLUMNS: Final[dict[str, Callable[[int], Step]]] = {
    "floor": _floor,
    "ours": _ours,
    "h11": _h11,
    "httptools": _httptools,
}
STEPS: Final = {"receive": _COLUMNS, "receive-mixed": _COLUMNS}

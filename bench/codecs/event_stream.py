"""Event stream messages, 256 at a time, with the three headers of a payload chunk. botocore cannot write them.

The floor knows where the payload lies, and computes the two checksums that none can do without. ``crc32`` is one
checksum of all bytes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack_from
from typing import Final
from zlib import crc32

from bench.clients.job import Step
from lambda_wire import (
    NEED_DATA,
    EventStreamDecoder,
    EventStreamHeader,
    EventStreamMessage,
    encode_event_stream,
)
from lambda_wire._signals import Role

__all__ = ["STEPS"]

_COUNT: Final = 256
_READ: Final = 65_536
_HEADERS: Final = (
    EventStreamHeader(name=":event-type", value="PayloadChunk"),
    EventStreamHeader(name=":content-type", value="application/octet-stream"),
    EventStreamHeader(name=":message-type", value="event"),
)


def _reads(size: int) -> list[bytes]:
    data = encode_event_stream(EventStreamMessage(headers=_HEADERS, payload=b"x" * size)) * _COUNT
    return [data[at : at + _READ] for at in range(0, len(data), _READ)]


def _encode_ours(size: int) -> Step:
    payload = b"x" * size

    def step() -> None:
        for _ in range(_COUNT):
            encode_event_stream(EventStreamMessage(headers=_HEADERS, payload=payload))

    return step


def _encode_floor(size: int) -> Step:
    payload = b"x" * size
    whole = encode_event_stream(EventStreamMessage(headers=_HEADERS, payload=payload))
    headers = whole[12 : -size - 4]

    def step() -> None:
        for _ in range(_COUNT):
            lengths = pack(">II", 16 + len(headers) + len(payload), len(headers))
            data = b"".join((lengths, pack(">I", crc32(lengths)), headers, payload))
            data += pack(">I", crc32(data))

    return step


def _decode_ours(size: int) -> Step:
    reads = _reads(size)

    def step() -> None:
        decoder, count = EventStreamDecoder(Role.CLIENT), 0
        for read in reads:
            decoder.feed(read)
            while decoder.next_message() is not NEED_DATA:
                count += 1
        assert count == _COUNT

    return step


def _decode_floor(size: int) -> Step:
    reads = _reads(size)
    whole = len(reads[0]) if len(reads) == 1 else 0
    total = unpack_from(">I", reads[0])[0]
    start = unpack_from(">I", reads[0], 4)[0] + 12
    assert not whole or whole == _COUNT * total

    def step() -> None:
        out: list[bytes] = []
        left = b""
        for read in reads:
            window = memoryview(left + read)
            at = 0
            while at + total <= len(window):
                end = at + total - 4
                crc = crc32(window[at : at + 8])
                assert crc == unpack_from(">I", window, at + 8)[0]
                assert crc32(window[at:end]) == unpack_from(">I", window, end)[0]
                out.append(bytes(window[at + start : end]))
                at = end + 4
            left = bytes(window[at:])
        assert len(out) == _COUNT

    return step


def _decode_crc32(size: int) -> Step:
    reads = _reads(size)
    return lambda: [crc32(read) for read in reads]


def _decode_botocore(size: int) -> Step:
    from botocore.eventstream import EventStreamBuffer

    reads = _reads(size)

    def step() -> None:
        buffer, count = EventStreamBuffer(), 0
        for read in reads:
            buffer.add_data(read)
            for _ in buffer:
                count += 1
        assert count == _COUNT

    return step


STEPS: Final[dict[str, dict[str, Callable[[int], Step]]]] = {
    "events-encode": {"floor": _encode_floor, "ours": _encode_ours},
    "events-decode": {
        "floor": _decode_floor,
        "ours": _decode_ours,
        "botocore": _decode_botocore,
        "crc32": _decode_crc32,
    },
}

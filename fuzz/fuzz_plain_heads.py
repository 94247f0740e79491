"""One mouth with two readers: heads that are plain, and h11, which judges all the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lambda_wire._buffer import Buffer
from lambda_wire._h11 import BadHead, odd_request, odd_response
from lambda_wire._plain_heads import plain_request, plain_response

#: What the bytes from 0x80 on stand for, so that a fuzzer writes heads that are nearly right.
PARTS: Final = (
    b"\r\n", b": ", b"Host: a", b"\r\nhost: b", b"GET ", b"POST ", b"/", b"http://a/", b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"200", b" OK\r\n", b"099", b"101", b"999", b"Content-Length: ", b"CONTENT-LENGTH:",
    b"12345678901234567890", b"1, 1", "\u0661".encode(), b"Transfer-Encoding: ", b"chunked", b"Chunked", b"identity",
    b"Connection: close", b"\r\n ", b"\r\n\t", b"_SWITCH", b"\xc3", b"\xed\xb2\x80", b"\xc2\x85", b"\xc2\xa0",
)  # fmt: skip
_FIRST_LINES: Final = (b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 OK\r\n")
_END: Final = b"\r\n\r\n"


def one_input(data: bytes) -> None:
    """A plain head says what h11 says it says: what h11 refuses is never plain, and nothing but ``BadHead`` is raised.

    The bytes are a head, or the fields after a first line, as they are and spelt out of ``PARTS``.
    """
    for text in (data, b"".join(map(_part, data))):
        for first in _FIRST_LINES:
            for head in heads(first + text + _END):
                assert_agreed(head)


def heads(data: bytes) -> Iterator[bytes]:
    """Yield what a reader of messages would take for a head, and another after it, and so on."""
    buffer = Buffer()
    buffer.feed(data)
    while (head := buffer.take_until(b"\n\r\n", b"\n\n", limit=1 << 20)) is not None:
        if head[0] > 0x20:  # else no head begins
            yield head


def assert_agreed(head: bytes, method: str = "GET") -> None:
    """Hold both readers against each other, in both roles."""
    try:
        request = odd_request(head)
    except BadHead as fault:
        _assert_told(fault, head)
        assert plain_request(head) is None
    else:
        assert plain_request(head) in (None, request)
    try:
        response = odd_response(head, method)
    except BadHead as fault:
        _assert_told(fault, head)
        assert plain_response(head) is None
    else:
        assert plain_response(head) in (None, response)


def _assert_told(fault: BadHead, head: bytes) -> None:
    assert fault.at is not None
    assert fault.at == 0 or head[fault.at - 1 : fault.at] in (b"\n", b"\r")
    assert fault.status_hint in (400, 501)
    assert 0 < len(fault.reason) <= 100
    assert "bytearray" not in fault.reason.partition(":")[0]


def _part(byte: int) -> bytes:
    return PARTS[byte - 0x80] if 0x80 <= byte < 0x80 + len(PARTS) else bytes((byte,))

"""The heads of HTTP/1.1 messages as we write them, and how a field is looked up in one that was read.

A head is written from its fields and checked once, whole: a field that could end its line cannot get out.
"""

from __future__ import annotations

import sys

from lambda_wire._malformed import Malformed, quote
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

__all__ = [
    "USER_AGENT",
    "encode_request_head",
    "encode_response_head",
    "field_line",
    "field_lines",
    "field_members",
    "field_value",
    "first_values",
    "head_lines",
    "join_request_head",
    "keeps_alive",
    "reason_phrase",
]

USER_AGENT: Final = f"lambda-wire/0.1.0 python/{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
#: Of RFC 9110, 15, and of RFC 6585. For 413 those of Go, which AWS's emulator writes.
_REASONS: Final = {
    100: "Continue",
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    511: "Network Authentication Required",
}


def field_value(headers: Headers, name: str) -> str:
    """Return the first value of a field, ``""`` when it is absent. ``name`` is in lower case, as ``headers`` are."""
    return next((value for held, value in headers if held == name), "")


def head_lines(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Give where the lines of a head begin, each with its end: who finds a fault looks for its place only then."""
    at = 0
    for line in head.splitlines(keepends=True):
        yield at, line
        at += len(line)


def field_lines(head: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Give where in a head the lines of a field begin, each with its value. ``name`` is in lower case."""
    for at, line in head_lines(head):
        held, _, value = line.partition(b":")
        if held.lower() == name.encode():
            yield at, value.strip()


def first_values(headers: Headers) -> Mapping[str, str]:
    """Return the first value of each field by its name."""
    return dict(reversed(headers))


def field_members(headers: Headers, name: str) -> set[str]:
    """Return the members of a field that is a list, in lower case. A blank parts them like a comma, as in Go."""
    values = ",".join([value for held, value in headers if held == name])
    return set(values.lower().replace(" ", ",").replace("\t", ",").split(",")) - {""}


def keeps_alive(headers: Headers, fields: Mapping[str, str], version: str) -> bool:
    """Say whether another message may follow. ``keep-alive`` and ``close`` together keep HTTP/1.0 alive (observed)."""
    if "connection" not in fields:
        return version != "1.0"
    options = field_members(headers, "connection")
    return "keep-alive" in options if version == "1.0" else "close" not in options


def reason_phrase(status: int) -> str:
    """Return the words for a status; ``""`` for one that HTTP itself does not name."""
    return _REASONS.get(status, "")


def field_line(name: str, value: str) -> str:
    """Return one line of a head, for a value that was checked; nothing for an empty one."""
    return f"{name}: {value}\r\n" if value else ""


def join_request_head(method: str, target: str, lines: str) -> bytes:
    """Return a request head with its empty line, of field lines whose values were checked."""
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape")


def encode_request_head(method: str, target: str, headers: Headers) -> bytes:
    """Return a request head with its empty line.

    Raises:
        Malformed: A part would end its line, or cannot be encoded.
    """
    return _encode_head(f"{method} {target} HTTP/1.1", headers)


def encode_response_head(status: int, headers: Headers = (), *, reason: str = "") -> bytes:
    """Return a response head with its empty line. Without ``reason``, the statuses of HTTP have theirs.

    Raises:
        Malformed: A part would end its line, or cannot be encoded.
    """
    return _encode_head(f"HTTP/1.1 {status} {reason or reason_phrase(status)}", headers)


def _encode_head(first_line: str, headers: Headers) -> bytes:
    text = "\r\n".join([first_line, *[f"{name}: {value}" for name, value in headers], "", ""])
    lines = len(headers) + 2
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise Malformed("expected header fields without CR, LF or NUL")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as fault:
        raise Malformed(f"expected header fields of text, got {quote(text[fault.start])}") from fault

"""Heads of HTTP/1.1 messages in the plain shape that every real peer of this wire sends, read quickly and strictly.

Plain is: HTTP/1.1, CRLF at every line's end and nowhere else, no other control characters (tabs are), no line folded,
no name twice, and a body that is counted or chunked and not both. Whatever is not plain is for h11 to judge, and so is
whether it is a head at all: nothing is refused here. Both give the same for what is plain, which a property test and a
fuzz target hold.
"""

from __future__ import annotations

from functools import lru_cache

from lambda_wire import _names as names
from lambda_wire._fields import is_token
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

__all__ = ["CountedResponse", "RequestParts", "ResponseParts", "counted_response", "plain_request", "plain_response"]

RequestParts: TypeAlias = tuple[str, str, str, Headers]
"""Method, target, version (``"1.1"``), and fields: names in lower case."""
ResponseParts: TypeAlias = tuple[int, str, Headers]
"""Status, version, and fields."""
CountedResponse: TypeAlias = tuple[int, Headers, int]
"""Status, fields, and the size of the body in bytes."""

#: What stands in no line of a head (RFC 9110, 5.5); a tab may, and is not plain.
_CONTROLS: Final = bytes((*range(0x20), 0x7F))
_METHODS: Final = frozenset({"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"})
#: How the status lines of final responses begin.
_STATUSES: Final = {f"HTTP/1.1 {status} ": status for status in range(200, 600)}
#: An acceptance has a head of at most that many bytes: it comes again and again, with no news but the second in it.
_SHORT: Final = 256
#: Digits of a ``Content-Length`` that h11 takes.
_LONGEST_LENGTH: Final = 20
#: The names that are seen all the time, as AWS writes them.
_USUAL: Final = (
    names.AWS_REQUEST_ID,
    names.AWS_TENANT_ID,
    names.CLIENT_CONTEXT,
    names.COGNITO_IDENTITY,
    names.CONNECTION,
    names.CONTENT_LENGTH,
    names.CONTENT_TYPE,
    names.DATE,
    names.DEADLINE_MS,
    names.FUNCTION_RESPONSE_MODE,
    names.HOST,
    names.INVOCATION_ID,
    names.INVOKED_FUNCTION_ARN,
    names.TRACE_ID,
    names.TRAILER,
    names.TRANSFER_ENCODING,
    names.USER_AGENT,
)
_CONNECTION: Final = names.CONNECTION.lower()
_CONTENT_LENGTH: Final = names.CONTENT_LENGTH.lower()
_HOST: Final = names.HOST.lower()
_TRANSFER_ENCODING: Final = names.TRANSFER_ENCODING.lower()
_LOWER_CASE: Final = {written: name.lower() for name in _USUAL for written in (name, name.lower())}


def plain_request(head: bytes) -> RequestParts | None:
    """Return what a whole request head says; ``None`` when it is not plain.

    Args:
        head: All of it, with its empty line.
    """
    lines = _lines(head)
    if lines is None:
        return None
    words = lines[0].split(" ")
    if len(words) != 3:
        return None
    method, target, version = words
    if version != "HTTP/1.1" or method not in _METHODS or not target or not target.isascii():
        return None
    fields = _fields(lines)
    if fields is None or _HOST not in fields:
        return None
    return method, target, "1.1", tuple(fields.items())


def plain_response(head: bytes) -> ResponseParts | None:
    """Return what the whole head of a final response says; ``None`` when it is not plain.

    Args:
        head: All of it, with its empty line.
    """
    parts = _status_and_fields(head)
    return None if parts is None else (parts[0], "1.1", tuple(parts[1].items()))


def counted_response(head: bytes) -> CountedResponse | None:
    """Return the same of a response whose body is counted and not the last, as nearly every one is; ``None`` else.

    Args:
        head: All of it, with its empty line. It answers no HEAD.
    """
    return _short_counted_response(head) if len(head) <= _SHORT else _counted_response(head)


def _counted_response(head: bytes) -> CountedResponse | None:
    parts = _status_and_fields(head)
    if parts is None:
        return None
    status, fields = parts
    length = fields.get(_CONTENT_LENGTH)
    if length is None or status in (204, 304) or _CONNECTION in fields:
        return None
    return status, tuple(fields.items()), int(length)


_short_counted_response: Final = lru_cache(maxsize=16)(_counted_response)


def _status_and_fields(head: bytes) -> tuple[int, dict[str, str]] | None:
    lines = _lines(head)
    if lines is None:
        return None
    status = _STATUSES.get(lines[0][:13])
    if status is None:
        return None
    fields = _fields(lines)
    return None if fields is None else (status, fields)


def _lines(head: bytes) -> list[str] | None:
    """Return the lines of a head if all its control characters are their ends; the last two are empty."""
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return lines if controls == 2 * len(lines) - 2 and head.endswith(b"\r\n\r\n") else None


def _fields(lines: list[str]) -> dict[str, str] | None:
    fields = _usual_fields(lines)
    if fields is None:
        return None
    length, coding = fields.get(_CONTENT_LENGTH), fields.get(_TRANSFER_ENCODING)
    if len(fields) != len(lines) - 3 or (coding is not None and (length is not None or coding != "chunked")):
        return None
    if length is not None and not (len(length) <= _LONGEST_LENGTH and length.isascii() and length.isdigit()):
        return None
    return fields


def _usual_fields(lines: list[str]) -> dict[str, str] | None:
    """Return fields by name, read at half the price when all names are usual and one blank stands before each value."""
    try:
        fields = {_LOWER_CASE[name]: value for name, value in [line.split(": ", 1) for line in lines[1:-2]]}
    except (KeyError, ValueError):
        return _named_fields(lines)
    values = "\n".join(["", *fields.values(), ""])
    return _named_fields(lines) if "\n " in values or " \n" in values else fields


def _named_fields(lines: list[str]) -> dict[str, str] | None:
    fields: dict[str, str] = {}
    for line in lines[1:-2]:
        written, colon, value = line.partition(":")
        name = _LOWER_CASE.get(written)
        if name is None:
            if not is_token(written):
                return None
            name = written.lower()
        if not colon:
            return None
        fields[name] = value.strip(" ")
    return fields

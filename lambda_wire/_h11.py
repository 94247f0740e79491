"""Heads of HTTP/1.1 messages, read by h11: the judge of all that is not plain. The only room that knows it."""

from __future__ import annotations

from typing import Final

import h11

from lambda_wire._fields import is_field_value, is_token
from lambda_wire._heads import field_lines, head_lines
from lambda_wire._limits import MAX_LENGTH
from lambda_wire._malformed import quote
from lambda_wire._messages import MalformedHead
from lambda_wire._plain_heads import RequestParts, ResponseParts
from lambda_wire._types import Headers

__all__ = ["BadHead", "odd_request", "odd_response"]

_LONGEST_REASON: Final = 100  # h11 quotes the whole line that it cannot read
#: What was expected of a line that h11 quotes.
_LINES: Final = {
    "illegal request line": "expected a method, a target and a version",
    "illegal status line": "expected a version and a status",
    "illegal header line": "expected a name, a colon and a value",
}


class BadHead(MalformedHead):
    """Bytes that are no head: which of them, and what was expected, that h11 does not say."""

    def __init__(self, fault: h11.RemoteProtocolError, head: bytes) -> None:
        reason, at, rule = _judged(str(fault), head)
        super().__init__(reason[:_LONGEST_REASON], at=at, status_hint=fault.error_status_hint, rule=rule)


def odd_request(head: bytes) -> RequestParts:
    """Return what a whole request head says.

    Raises:
        BadHead: It is none.
    """
    parser = h11.Connection(h11.SERVER)
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except h11.RemoteProtocolError as fault:
        raise BadHead(fault, head) from fault
    assert isinstance(event, h11.Request)
    return (
        event.method.decode("ascii"),
        event.target.decode("ascii"),
        event.http_version.decode("ascii"),
        _fields(event),
    )


def odd_response(head: bytes, method: str) -> ResponseParts:
    """Return what the whole head of a response says, final or interim.

    Args:
        head: All of it, with its empty line.
        method: Of the request that it answers.

    Raises:
        BadHead: It is none.
    """
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "")]))
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except h11.RemoteProtocolError as fault:
        raise BadHead(fault, head) from fault
    assert isinstance(event, (h11.Response, h11.InformationalResponse))
    return event.status_code, event.http_version.decode("ascii"), _fields(event)


def _fields(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    return tuple((name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in event.headers)


def _judged(said: str, head: bytes) -> tuple[str, int, str]:
    """Return what is wrong in our words, where, and the rule, of what h11 says."""
    what, quoting, line = said.partition(": bytearray(")
    if quoting:
        wrong = (at for at, line in head_lines(head) if at and not _is_field(line))  # the empty line, if no other
        at = next(wrong) if what == "illegal header line" else 0
        return f"{_LINES[what]}, got {line.removesuffix(')')}", at, "RT-CONN-16"
    if "_SWITCH" in said:
        return "expected no switch of protocols, got status 101", 0, "RT-CONN-16"
    if "status_code" in said:
        return f"expected a status from 100 to 999, got {said.rpartition(' ')[2]}", 0, "RT-CONN-16"
    if "Content-Length" in said:
        return _bad_length(head)
    if "Transfer-Encoding" in said:
        at, coding = list(field_lines(head, "transfer-encoding"))[1 if "multiple" in said else 0]
        rule = "RT-CONN-11" if head.startswith(b"HTTP/") else "RT-CONN-21"
        return f"expected Transfer-Encoding: chunked, once, got {quote(coding)}", at, rule
    hosts = list(field_lines(head, "host"))
    if "multiple Host" in said:
        return "expected one Host field, got another", hosts[1][0], "RT-CONN-2"
    if "Host" in said:
        return "expected a Host field, got none", 0, "RT-CONN-2"
    at = head.find(b"\n") + 1 if "continuation" in said else 0
    return f"expected a field, got a {said}" if at else said, at, "RT-CONN-16"


def _is_field(line: bytes) -> bool:
    """Say whether a line may be one; one that goes on with the field before it needs no name."""
    text = line.decode("latin-1")
    named = text[0] in " \t" or is_token(text.partition(":")[0])
    return named and text.endswith("\n") and is_field_value(text.strip(" \t\r\n"))


def _bad_length(head: bytes) -> tuple[str, int, str]:
    """Return what is wrong with the first ``Content-Length`` that is no number, or another one than the first."""
    lengths = list(field_lines(head, "content-length"))
    at, length = next((it for it in lengths if not it[1].isdigit() or it[1] != lengths[0][1]), lengths[0])
    if len(lengths) == 1 and length.isdigit():
        return f"expected a Content-Length of at most {MAX_LENGTH}, got {quote(length)}", at, "LI-HEAD-2"
    return f"expected one number as Content-Length, got {quote(length)}", at, "RT-CONN-16"

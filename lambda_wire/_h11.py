"""Heads of HTTP/1.1 messages, read by h11: the judge of all that is not plain. The only room that knows it."""

from __future__ import annotations

from typing import Final

import h11

from lambda_wire._malformed import Malformed
from lambda_wire._plain_heads import RequestParts, ResponseParts
from lambda_wire._types import Headers

__all__ = ["BadHead", "odd_request", "odd_response"]

_LONGEST_REASON: Final = 100  # h11 quotes the whole line that it cannot read


class BadHead(Malformed):
    """Bytes that are no head.

    Attributes:
        status_hint: The status that a server answers this with.
    """

    def __init__(self, fault: h11.RemoteProtocolError) -> None:
        reason = _without_names(str(fault))
        super().__init__(reason, at=0, rule=_rule(reason, fault.error_status_hint))
        self.status_hint: int = fault.error_status_hint


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
        raise BadHead(fault) from fault
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
        raise BadHead(fault) from fault
    assert isinstance(event, (h11.Response, h11.InformationalResponse))
    return event.status_code, event.http_version.decode("ascii"), _fields(event)


def _fields(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    return tuple((name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in event.headers)


def _rule(reason: str, status_hint: int) -> str:
    if "Host: header" in reason:
        return "RT-CONN-2"
    return "RT-CONN-21" if status_hint == 501 else "RT-CONN-16"


def _without_names(reason: str) -> str:
    """Return what h11 says is wrong, within bounds and without Python's names: it quotes the line it cannot read."""
    said, quoting, line = reason.partition(": bytearray(")
    if quoting:
        return f"{said}: {line.removesuffix(')')}"[:_LONGEST_REASON]
    if "_SWITCH" in said:
        return "expected no switch of protocols, got status 101"
    if "status_code" in said:
        return f"expected a status from 100 to 999, got {said.rpartition(' ')[2]}"
    return said

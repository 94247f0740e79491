"""One mouth in two roles: the reader of HTTP/1.1 messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lambda_wire._events import ConnectionClosed
from lambda_wire._http11 import MessageReader
from lambda_wire._messages import HttpEvent, MalformedMessage, MessageEnd, RequestHead, ResponseHead
from lambda_wire._signals import NEED_DATA, Role, Signal
from lambda_wire.testing import deliveries

MAX_HEAD: Final = 512
"""Small, so that a fuzzer finds it."""

#: Every message as its head, its body and its end, and the fault with its offset and status. Bodies are joined.
Reading = tuple[list[object], tuple[str, int | None, int] | None]


def one_input(data: bytes) -> None:
    """The same bytes get the same verdict in both roles however they are delivered, with the same offset.

    Nothing but ``MalformedMessage`` is raised, a fault is for ever, and a message ends only after it began. With
    boundaries kept, the pieces of a request's body are the same too.
    """
    for role in Role:
        for keep_boundaries in (True, False):
            readings = [
                read(pieces, role, keep_boundaries=keep_boundaries, joined=role is Role.CLIENT or not keep_boundaries)
                for pieces in deliveries(data)
            ]
            assert all(reading == readings[0] for reading in readings)


def read(pieces: list[bytes], role: Role, *, keep_boundaries: bool = False, joined: bool = True) -> Reading:
    """Return what a reader makes of one delivery that then ends."""
    reader = MessageReader(role, keep_boundaries=keep_boundaries, max_head=MAX_HEAD)
    events: list[object] = []
    try:
        for data in (*pieces, b""):
            reader.receive_data(data)
            for event in pull(reader):
                _note(events, event, joined=joined)
    except MalformedMessage as fault:
        verdict = (fault.reason, fault.at, fault.status_hint)
        reader.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert _fault(reader) == verdict
        return events, verdict
    return events, None


def pull(reader: MessageReader) -> Iterator[HttpEvent]:
    """Yield every event that is there, beginning each message after the one before."""
    while (event := reader.next_event()) is not NEED_DATA:
        if isinstance(event, Signal):
            reader.start_next()
            continue
        yield event
        if isinstance(event, ConnectionClosed):
            return


def _note(events: list[object], event: HttpEvent, *, joined: bool) -> None:
    match event:
        case bytes():
            assert event
            body = events[-1] if joined else b""
            if isinstance(body, bytes) and body:
                events[-1] = body + event
            else:
                assert isinstance(body, (RequestHead, ResponseHead, bytes))
                events.append(event)
        case MessageEnd():
            assert isinstance(events[-1], (RequestHead, ResponseHead, bytes))
            events.append(event)
        case _:
            assert not events or isinstance(events[-1], MessageEnd)
            events.append(event)


def _fault(reader: MessageReader) -> tuple[str, int | None, int] | None:
    try:
        reader.next_event()
    except MalformedMessage as fault:
        return fault.reason, fault.at, fault.status_hint
    return None

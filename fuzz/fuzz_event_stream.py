"""One mouth: the decoder of event stream messages."""

from __future__ import annotations

from zlib import crc32

from lambda_wire._event_stream import EventStreamDecoder, EventStreamMessage, encode_event_stream
from lambda_wire._malformed import Malformed
from lambda_wire._signals import NEED_DATA, Role
from lambda_wire.testing import deliveries

#: The messages, and the fault; the fault is empty for a stream that ended where a message did.
Verdict = tuple[list[EventStreamMessage], str]


def one_input(data: bytes) -> None:
    """The same bytes get the same verdict however they are delivered, and nothing but ``Malformed`` is raised.

    What was understood, written again, is the same bytes, unless a header is empty, which is read and not written. A
    client understands whatever a service does. Holds for the bytes themselves, and for a message made of them that
    has the right lengths and checksums: chance finds none.
    """
    for wire in (data, sealed(data)):
        service, client = [agreed(wire, role) for role in (Role.SERVER, Role.CLIENT)]
        assert client[0][: len(service[0])] == service[0]
        assert service[1] or client == service
        messages, fault = service
        if not any(is_empty(header.value) for message in messages for header in message.headers):
            again = b"".join(map(encode_event_stream, messages))
            assert wire.startswith(again)
            assert fault or again == wire


def is_empty(value: bool | int | bytes | str) -> bool:
    """Say whether this is a string or a byte array of no length."""
    return isinstance(value, bytes | str) and not value


def sealed(data: bytes) -> bytes:
    """Return a message whose headers are as many bytes as the first one says, and whose payload is the rest."""
    size = min(data[0], len(data) - 1) if data else 0
    lengths = (len(data[1:]) + 16).to_bytes(4, "big") + size.to_bytes(4, "big")
    message = lengths + crc32(lengths).to_bytes(4, "big") + data[1:]
    return message + crc32(message).to_bytes(4, "big")


def agreed(wire: bytes, role: Role) -> Verdict:
    """Return what every delivery of ``wire`` gives."""
    first, *others = [verdict(pieces, role) for pieces in deliveries(wire)]
    assert all(other == first for other in others)
    return first


def verdict(pieces: list[bytes], role: Role) -> Verdict:
    """Return what a decoder makes of one delivery, and of its end."""
    decoder = EventStreamDecoder(role)
    messages: list[EventStreamMessage] = []
    fault = ""
    try:
        for piece in [*pieces, b""]:
            assert not decoder.ended
            decoder.feed(piece)
            while (message := decoder.next_message()) is not NEED_DATA:
                messages.append(message)
    except Malformed as malformed:
        fault = str(malformed)
    assert decoder.ended is not bool(fault)
    return messages, fault

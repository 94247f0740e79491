"""Event stream messages: what is written comes back, and every length is checked before it is believed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.fuzz_event_stream import Verdict, agreed, one_input, sealed, verdict
from lambda_wire import _event_stream as event_stream
from lambda_wire import _limits as limits
from lambda_wire._event_stream import (
    EventStreamDecoder,
    EventStreamHeader,
    EventStreamMessage,
    HeaderType,
    encode_event_stream,
    event_stream_buffers,
)
from lambda_wire._malformed import Malformed
from lambda_wire._signals import NEED_DATA, Role
from lambda_wire.testing import deliveries

BOTH = pytest.mark.parametrize("role", list(Role))

HI = bytes.fromhex(
    "00000012"  # total length: 12 + 0 + 2 + 4
    "00000000"  # headers length
    "7f021b8b"  # crc of the eight bytes above
    "6869"  # payload: b"hi"
    "54a7f415"  # crc of everything above
)

#: Every type once, as the specification numbers them, least and greatest values among them.
ALL_TYPES = bytes.fromhex(
    "00000071"  # total length: 12 + 97 + 0 + 4
    "00000061"  # headers length
    "9b2547d8"  # crc of the eight bytes above
    "0174 00"  # t: true
    "0166 01"  # f: false
    "0162 02 80"  # b: byte -128
    "0173 03 7fff"  # s: short 32,767
    "0169 04 80000000"  # i: integer -2 ** 31
    "016c 05 7fffffffffffffff"  # l: long 2 ** 63 - 1
    "0161 06 0003 00ff80"  # a: byte array of 3
    "02c3a9 07 0004 f09f9880"  # é: string of 4 bytes, one character
    "026d73 08 0000018bcfe56800"  # ms: timestamp 2023-11-14T22:13:20Z
    "0475756964 09 00112233445566778899aabbccddeeff"  # uuid: 16 bytes
    "026265 08 ffffffffffffffff"  # be: timestamp -1, a millisecond before 1970
    "ff6f7e2f"  # crc of everything above
)
ALL_TYPES_MESSAGE = EventStreamMessage(
    headers=(
        EventStreamHeader(name="t", value=True, type=HeaderType.BOOLEAN),
        EventStreamHeader(name="f", value=False, type=HeaderType.BOOLEAN),
        EventStreamHeader(name="b", value=-128, type=HeaderType.BYTE),
        EventStreamHeader(name="s", value=32_767, type=HeaderType.SHORT),
        EventStreamHeader(name="i", value=-(2**31), type=HeaderType.INTEGER),
        EventStreamHeader(name="l", value=2**63 - 1, type=HeaderType.LONG),
        EventStreamHeader(name="a", value=b"\x00\xff\x80", type=HeaderType.BYTE_ARRAY),
        EventStreamHeader(name="é", value="😀"),
        EventStreamHeader(name="ms", value=1_700_000_000_000, type=HeaderType.TIMESTAMP),
        EventStreamHeader(name="uuid", value=bytes.fromhex("00112233445566778899aabbccddeeff"), type=HeaderType.UUID),
        EventStreamHeader(name="be", value=-1, type=HeaderType.TIMESTAMP),
    )
)

#: The last message of a stream that Lambda answers, headers in the order in which AWS sends them.
COMPLETE = bytes.fromhex(
    "00000066"  # total length: 12 + 84 + 2 + 4
    "00000054"  # headers length
    "1f56c869"  # crc of the eight bytes above
    "0b3a6576656e742d74797065 07 000e 496e766f6b65436f6d706c657465"  # :event-type: InvokeComplete
    "0d3a636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"  # :content-type: application/json
    "0d3a6d6573736167652d74797065 07 0005 6576656e74"  # :message-type: event
    "7b7d"  # payload: {}
    "7006d467"  # crc of everything above
)
COMPLETE_MESSAGE = EventStreamMessage(
    headers=(
        EventStreamHeader(name=":event-type", value="InvokeComplete"),
        EventStreamHeader(name=":content-type", value="application/json"),
        EventStreamHeader(name=":message-type", value="event"),
    ),
    payload=b"{}",
)

INTEGERS = {
    HeaderType.BYTE: 8,
    HeaderType.SHORT: 16,
    HeaderType.INTEGER: 32,
    HeaderType.LONG: 64,
    HeaderType.TIMESTAMP: 64,
}
VALUES: dict[HeaderType, st.SearchStrategy[Any]] = {  # Any: bool, int, bytes or str
    HeaderType.BOOLEAN: st.booleans(),
    **{kind: st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) for kind, bits in INTEGERS.items()},
    HeaderType.BYTE_ARRAY: st.binary(min_size=1, max_size=40),
    HeaderType.STRING: st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    HeaderType.UUID: st.binary(min_size=16, max_size=16),
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
HEADERS = st.sampled_from(list(HeaderType)).flatmap(
    lambda kind: st.builds(EventStreamHeader, name=NAMES, value=VALUES[kind], type=st.just(kind))
)
MESSAGES = st.builds(
    EventStreamMessage,
    headers=st.lists(HEADERS, max_size=6, unique_by=lambda header: header.name).map(tuple),
    payload=st.binary(max_size=60),
)


def prelude(total: int, headers: int) -> bytes:
    """Return the twelve bytes in front, with the right checksum."""
    lengths = total.to_bytes(4, "big") + headers.to_bytes(4, "big")
    return lengths + crc32(lengths).to_bytes(4, "big")


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """Return a message with the right lengths and checksums, whatever its headers are."""
    message = prelude(16 + len(headers) + len(payload), len(headers)) + headers + payload
    return message + crc32(message).to_bytes(4, "big")


def read(wire: bytes, role: Role = Role.CLIENT) -> list[EventStreamMessage]:
    """Return the messages of a stream that has no fault, in every delivery."""
    messages, fault = agreed(wire, role)
    assert fault == ""
    return messages


def fault_of(wire: bytes, role: Role = Role.CLIENT, *, ends: bool = False) -> Malformed:
    """Return the fault that every delivery of ``wire`` meets, before its end is said or after."""
    faults: list[Malformed] = []
    for pieces in deliveries(wire):
        decoder = EventStreamDecoder(role)
        with pytest.raises(Malformed) as caught:
            read_on(decoder, [*pieces, b""] if ends else pieces)
        faults.append(caught.value)
    assert len({(fault.reason, fault.at) for fault in faults}) == 1
    return faults[0]


def read_on(decoder: EventStreamDecoder, pieces: list[bytes]) -> None:
    for piece in pieces:
        decoder.feed(piece)
        while decoder.next_message() is not NEED_DATA:
            pass


def header(name: bytes, number: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([number]) + value


class TestVectors:
    """Known bytes, field by field, in both directions and for both ends."""

    @BOTH
    @pytest.mark.parametrize(
        ("wire", "message"),
        [
            # ES-FRAME-1, ES-FRAME-2, ES-FRAME-3, ES-FRAME-8, ES-CRC-1, ES-CRC-2
            (HI, EventStreamMessage(payload=b"hi")),
            (ALL_TYPES, ALL_TYPES_MESSAGE),  # ES-HEADER-1, ES-HEADER-7, ES-HEADER-9, ES-HEADER-10
            (COMPLETE, COMPLETE_MESSAGE),  # ES-CRC-3
        ],
        ids=["payload alone", "all types", "as AWS sends"],
    )
    def test_read_and_written(self, wire: bytes, message: EventStreamMessage, role: Role) -> None:
        """The bytes give the message, the message gives the bytes."""
        assert read(wire, role) == [message]
        assert encode_event_stream(message) == wire

    def test_nothing_is_a_message_too(self) -> None:
        """No header and no payload: 16 bytes, the least there is (ES-FRAME-4)."""
        wire = encode_event_stream(EventStreamMessage())
        assert len(wire) == 16
        assert read(wire * 3) == [EventStreamMessage()] * 3

    def test_types_are_told_apart(self) -> None:
        """A true is no 1, and a number keeps its width."""
        values = [(kind.type, type(kind.value)) for kind in read(ALL_TYPES)[0].headers]
        assert values == [(kind.type, type(kind.value)) for kind in ALL_TYPES_MESSAGE.headers]

    def test_text(self) -> None:
        """The string of that name; nothing when it is absent or no string."""
        assert COMPLETE_MESSAGE.text(":event-type") == "InvokeComplete"
        assert [ALL_TYPES_MESSAGE.text(name) for name in ("é", "a", "b", "absent")] == ["😀", "", "", ""]

    def test_payloads_stay_out_of_repr(self) -> None:
        """A logged message is not its payload."""
        assert "{}" not in repr(COMPLETE_MESSAGE)


class TestRecords:
    """What cannot be said on this wire cannot be made."""

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            *[(bound, kind) for kind, bits in INTEGERS.items() for bound in (-(1 << bits - 1), (1 << bits - 1) - 1)],
            ("x" * 32_767, HeaderType.STRING),
            ("é" * 16_383, HeaderType.STRING),
            (b"x" * 32_767, HeaderType.BYTE_ARRAY),
            ("", HeaderType.STRING),
            (b"", HeaderType.BYTE_ARRAY),
        ],
    )
    def test_values_at_their_bounds(self, value: int | bytes | str, kind: HeaderType) -> None:
        """Least and greatest; empty ones, because AWS's C library reads them."""
        assert EventStreamHeader(name="n", value=value, type=kind).value == value

    @pytest.mark.parametrize(
        ("value", "kind", "reason"),
        [
            (-129, HeaderType.BYTE, "must be -128..127, got -129"),
            (128, HeaderType.BYTE, "must be -128..127, got 128"),
            (-32_769, HeaderType.SHORT, "must be -32768..32767, got -32769"),
            (32_768, HeaderType.SHORT, "must be -32768..32767, got 32768"),
            (-2_147_483_649, HeaderType.INTEGER, "must be -2147483648..2147483647, got -2147483649"),
            (2_147_483_648, HeaderType.INTEGER, "must be -2147483648..2147483647, got 2147483648"),
            *[
                (value, kind, f"must be -9223372036854775808..9223372036854775807, got {value}")
                for kind in (HeaderType.LONG, HeaderType.TIMESTAMP)
                for value in (-9_223_372_036_854_775_809, 9_223_372_036_854_775_808)
            ],
            *[(True, kind, "must be int, got bool") for kind in INTEGERS],
            (1, HeaderType.BOOLEAN, "must be bool, got int"),
            ("1", HeaderType.INTEGER, "must be int, got str"),
            (b"x", HeaderType.STRING, "must be str, got bytes"),
            ("x", HeaderType.BYTE_ARRAY, "must be bytes, got str"),
            (bytearray(b"x"), HeaderType.BYTE_ARRAY, "must be bytes, got bytearray"),
            ("x" * 32_768, HeaderType.STRING, "must have at most 32767 bytes, got 32768"),  # ES-HEADER-11
            ("é" * 16_384, HeaderType.STRING, "must have at most 32767 bytes, got 32768"),
            (b"x" * 32_768, HeaderType.BYTE_ARRAY, "must have at most 32767 bytes, got 32768"),
            ("\ud800", HeaderType.STRING, r"must be encodable as UTF-8, got '\ud800'"),
            (b"x" * 15, HeaderType.UUID, "must have 16 bytes, got 15"),
            (b"x" * 17, HeaderType.UUID, "must have 16 bytes, got 17"),
        ],
    )
    def test_values_that_are_none(self, value: Any, kind: HeaderType, reason: str) -> None:
        """Of another type, out of range, too long, no text: the message says of which type, what it takes and got."""
        with pytest.raises(Malformed) as caught:
            EventStreamHeader(name="n", value=value, type=kind)
        assert str(caught.value) == f"the value of a header of type {kind.value} {reason}"
        assert caught.value.rule == ("ES-HEADER-11" if "at most" in reason else "")

    def test_a_type_that_is_none(self) -> None:
        """Not even its number on the wire."""
        kind: Any = 7
        with pytest.raises(Malformed, match=r"^the type of a header must be HeaderType, got int$"):
            EventStreamHeader(name="n", value="x", type=kind)

    def test_a_huge_number_is_refused_like_any_other(self) -> None:
        """Python would not even print it."""
        with pytest.raises(Malformed, match="got a huge int"):
            EventStreamHeader(name="n", value=10**5000, type=HeaderType.LONG)

    @pytest.mark.parametrize("name", ["x" * 255, "é" * 127 + "x", "\x00", " "])
    def test_names(self, name: str) -> None:
        """1 to 255 bytes of any text (ES-HEADER-2)."""
        wire = encode_event_stream(EventStreamMessage(headers=(EventStreamHeader(name=name, value="v"),)))
        assert read(wire)[0].text(name) == "v"

    @pytest.mark.parametrize(
        ("name", "reason", "rule"),
        [
            ("", "must have 1-255 bytes, got 0: ''", "ES-HEADER-2"),
            ("x" * 256, f"must have 1-255 bytes, got 256: '{'x' * 63}...", "ES-HEADER-2"),
            ("é" * 128, f"must have 1-255 bytes, got 256: '{'é' * 63}...", "ES-HEADER-2"),
            ("\udcff", r"must be encodable as UTF-8, got '\udcff'", ""),
            (b"n", "must be str, got bytes", ""),
            (1, "must be str, got int", ""),
        ],
    )
    def test_names_that_are_none(self, name: Any, reason: str, rule: str) -> None:
        """Empty, too long in bytes, no text (ES-HEADER-2)."""
        with pytest.raises(Malformed) as caught:
            EventStreamHeader(name=name, value="v")
        assert (str(caught.value), caught.value.rule) == (f"the name of a header {reason}", rule)

    @pytest.mark.parametrize(
        ("fields", "reason", "rule"),
        [
            ({"payload": bytearray(b"x")}, "the payload must be bytes, got bytearray", ""),
            ({"headers": []}, "the headers must be tuple, got list", ""),
            ({"headers": (("n", "v"),)}, "a header must be EventStreamHeader, got tuple", ""),
            (
                {"headers": (EventStreamHeader(name="n", value="v"),) * 2},
                "the name of a header must stand once in its message, got 'n' twice",
                "ES-HEADER-4",
            ),
        ],
    )
    def test_messages_that_are_none(self, fields: dict[str, Any], reason: str, rule: str) -> None:
        """What may change later, and names that stand twice, which is against a rule."""
        with pytest.raises(Malformed, match=f"^{reason}$") as caught:
            EventStreamMessage(**fields)
        assert caught.value.rule == rule


class TestEncode:
    """Written is what every reader accepts."""

    @given(message=MESSAGES)
    @example(message=ALL_TYPES_MESSAGE)
    def test_reading_inverts_writing(self, message: EventStreamMessage) -> None:
        """For every message that may be written, for both ends, in every delivery."""
        wire = encode_event_stream(message)
        assert [agreed(wire, role) for role in Role] == [([message], "")] * 2

    @given(messages=st.lists(MESSAGES, max_size=4))
    def test_writing_inverts_reading(self, messages: list[EventStreamMessage]) -> None:
        """Of canonical bytes: what was read, written again, is the same bytes."""
        wire = b"".join(map(encode_event_stream, messages))
        assert b"".join(map(encode_event_stream, read(wire))) == wire

    def test_the_payload_is_passed_through(self) -> None:
        """As it is: not a copy, and no buffer is empty."""
        payload = bytes(1000)
        buffers = event_stream_buffers(EventStreamMessage(headers=COMPLETE_MESSAGE.headers, payload=payload))
        assert buffers[1] is payload
        assert [len(buffer) for buffer in buffers] == [96, 1000, 4]
        assert [len(buffer) for buffer in event_stream_buffers(EventStreamMessage())] == [16]

    @pytest.mark.parametrize(("value", "kind"), [("", HeaderType.STRING), (b"", HeaderType.BYTE_ARRAY)])
    def test_empty_values_are_not_written(self, value: bytes | str, kind: HeaderType) -> None:
        """The specification's grammar begins at one byte (ES-HEADER-11)."""
        message = EventStreamMessage(headers=(EventStreamHeader(name="n", value=value, type=kind),))
        with pytest.raises(Malformed, match="1 byte or more, got none in header 'n'"):
            encode_event_stream(message)

    def test_the_payload_is_limited(self) -> None:
        """24 MiB are written, not a byte more (ES-LIMIT-1)."""
        payload = bytes(limits.MAX_EVENT_STREAM_PAYLOAD)
        wire = encode_event_stream(EventStreamMessage(payload=payload))
        assert verdict([wire], Role.SERVER) == ([EventStreamMessage(payload=payload)], "")
        with pytest.raises(Malformed, match="expected at most 25165824 bytes of payload, got 25165825") as caught:
            encode_event_stream(EventStreamMessage(payload=payload + b"x"))
        assert caught.value.at is None

    def test_the_headers_are_limited(self) -> None:
        """128 KiB together are written, not a byte more (ES-LIMIT-2)."""
        message = EventStreamMessage(headers=tuple(wide_headers(limits.MAX_EVENT_STREAM_HEADERS)))
        assert verdict([encode_event_stream(message)], Role.SERVER) == ([message], "")
        with pytest.raises(Malformed, match="expected at most 131072 bytes of headers, got 131073") as caught:
            encode_event_stream(EventStreamMessage(headers=tuple(wide_headers(131_073))))
        assert caught.value.at is None

    def test_the_number_of_headers_is_limited(self) -> None:
        """1,024 are written, not one more (ES-LIMIT-6)."""
        message = EventStreamMessage(headers=tuple(many_headers(1024)))
        assert verdict([encode_event_stream(message)], Role.SERVER) == ([message], "")
        with pytest.raises(Malformed, match=r"^expected at most 1024 headers, got 1025 or more$") as caught:
            encode_event_stream(EventStreamMessage(headers=tuple(many_headers(1025))))
        assert caught.value.rule == "ES-LIMIT-6"


def wide_headers(size: int) -> Iterator[EventStreamHeader]:
    """Yield five headers of so many bytes together; each has five beside its value."""
    for name, length in zip("abcde", [32_000] * 4 + [size - 4 * 32_000 - 25], strict=True):
        yield EventStreamHeader(name=name, value=b"x" * length, type=HeaderType.BYTE_ARRAY)


def many_headers(count: int) -> Iterator[EventStreamHeader]:
    return (EventStreamHeader(name=str(number), value=True, type=HeaderType.BOOLEAN) for number in range(count))


class TestPrelude:
    """The first twelve bytes are judged as soon as they are there, in this order."""

    @BOTH
    def test_its_checksum_comes_first(self, role: Role) -> None:
        """Lengths that a flipped bit made are not even compared (ES-FRAME-5, ES-CRC-4)."""
        wire = bytes.fromhex("00000005 00000000 00000000")
        assert str(fault_of(wire, role)) == "expected prelude CRC adc25019 over what came, got 00000000 (at byte 8)"

    @BOTH
    @pytest.mark.parametrize("total", [0, 1, 4, 5, 12, 15])
    @pytest.mark.parametrize("headers", [0, 1, 2**32 - 1])
    def test_the_total_holds_what_is_always_there(self, total: int, headers: int, role: Role) -> None:
        """16 bytes are lengths and checksums (ES-FRAME-6)."""
        fault = fault_of(HI + prelude(total, headers), role)
        assert (fault.reason, fault.at) == (f"expected a total length of 16 or more, got {total}", len(HI))

    @BOTH
    @pytest.mark.parametrize(("total", "headers"), [(16, 1), (20, 5), (20, 8), (16, 2**32 - 1), (200_000, 199_985)])
    def test_the_headers_fit_the_total(self, total: int, headers: int, role: Role) -> None:
        """Even where the headers alone would be too large for a service (ES-FRAME-7, ES-FRAME-5)."""
        fault = fault_of(HI + prelude(total, headers), role)
        assert (fault.reason, fault.at) == (f"headers length {headers} exceeds total length {total} - 16", len(HI) + 4)

    def test_a_service_limits_headers_and_payload(self) -> None:
        """With the first twelve bytes: nothing of a message that is too large is waited for (ES-LIMIT-3)."""
        headers, payload = limits.MAX_EVENT_STREAM_HEADERS, limits.MAX_EVENT_STREAM_PAYLOAD
        fault = fault_of(HI + prelude(16 + headers + 1, headers + 1), Role.SERVER)
        assert (fault.reason, fault.at) == ("expected at most 131072 bytes of headers, got 131073", len(HI) + 4)
        fault = fault_of(HI + prelude(16 + headers + payload + 1, headers), Role.SERVER)
        assert (fault.reason, fault.at) == ("expected at most 25165824 bytes of payload, got 25165825", len(HI))
        for total, size in [(16 + headers, headers), (16 + headers + payload, headers)]:
            decoder = EventStreamDecoder(Role.SERVER)
            decoder.feed(prelude(total, size))
            assert decoder.next_message() is NEED_DATA

    @pytest.mark.parametrize(("total", "headers"), [(2**32 - 1, 0), (2**32 - 1, 2**32 - 17), (25_165_841, 0)])
    def test_a_client_limits_neither(self, total: int, headers: int) -> None:
        """The specification forbids it; and what is only announced costs nothing (ES-LIMIT-4)."""
        decoder = EventStreamDecoder(Role.CLIENT)
        decoder.feed(prelude(total, headers))
        assert decoder.next_message() is NEED_DATA

    def test_a_client_reads_what_a_service_refuses(self) -> None:
        """One byte more than each limit (ES-LIMIT-4)."""
        large = framed(b"", bytes(limits.MAX_EVENT_STREAM_PAYLOAD + 1))
        (message,), fault = verdict([large], Role.CLIENT)
        assert (len(message.payload), fault) == (25_165_825, "")
        wide = framed(b"".join([header(b"%d" % n, 6, b"\x7f\xff" + bytes(32_767)) for n in range(4)]) + b"\x01e\x00")
        assert len(verdict([wide], Role.CLIENT)[0][0].headers) == 5
        assert "bytes of headers" in verdict([wide], Role.SERVER)[1]


class TestChecksums:
    """What came is what was sent, or nothing is believed of it."""

    @BOTH
    def test_the_messages_checksum_comes_before_its_headers(self, role: Role) -> None:
        """A header that a flipped bit made is not even read (ES-FRAME-5)."""
        wire = framed(b"\x00\x0c")[:-4] + bytes(4)
        fault = fault_of(HI + wire, role)
        assert fault.reason == f"expected message CRC {crc32(wire[:-4]):08x} over what came, got 00000000"
        assert fault.at == len(HI) + 14

    @BOTH
    def test_every_bit_counts(self, role: Role) -> None:
        """Flip any one, and the message before is all that is read (ES-CRC-5)."""
        for bit in range(8 * len(COMPLETE)):
            flipped = bytearray(COMPLETE)
            flipped[bit // 8] ^= 1 << bit % 8
            messages, fault = verdict([HI, bytes(flipped)], role)
            assert messages == [EventStreamMessage(payload=b"hi")]
            assert "CRC" in fault


class TestHeaders:
    """Every length in the headers is held against where the headers end."""

    @BOTH
    @pytest.mark.parametrize(
        ("headers", "reason", "at", "number"),
        [
            (b"\x00\x00", "must have 1-255 bytes, got 0: ''", 0, 2),  # ES-HEADER-3
            (b"\x01n\x00\x00\x00", "must have 1-255 bytes, got 0: ''", 3, 2),
            (b"\x01", "expected name of 1 bytes, got 0 before the headers end", 1, 15),
            (b"\xff" + b"n" * 254, "expected name of 255 bytes, got 254 before the headers end", 1, 15),
            (b"\x01n", "expected type of 1 bytes, got 0 before the headers end", 2, 15),
            (b"\x01n\x0a", "expected a header type of 0..9, got 10", 2, 7),  # ES-HEADER-8
            (b"\x01n\xff", "expected a header type of 0..9, got 255", 2, 7),
            (b"\x01n\x02", "expected byte of 1 bytes, got 0 before the headers end", 3, 15),
            (b"\x01n\x03\x00", "expected short of 2 bytes, got 1 before the headers end", 3, 15),
            (b"\x01n\x04\x00\x00\x00", "expected integer of 4 bytes, got 3 before the headers end", 3, 15),
            (b"\x01n\x05" + bytes(7), "expected long of 8 bytes, got 7 before the headers end", 3, 15),
            (b"\x01n\x08" + bytes(7), "expected timestamp of 8 bytes, got 7 before the headers end", 3, 15),
            (b"\x01n\x09" + bytes(15), "expected uuid of 16 bytes, got 15 before the headers end", 3, 15),
            (b"\x01n\x06\x00", "expected length of a byte_array of 2 bytes, got 1 before the headers end", 3, 15),
            (b"\x01n\x07", "expected length of a string of 2 bytes, got 0 before the headers end", 3, 15),
            (b"\x01n\x06\x00\x02x", "expected byte_array of 2 bytes, got 1 before the headers end", 5, 15),
            (b"\x01n\x07\xff\xffx", "expected string of 65535 bytes, got 1 before the headers end", 5, 15),
            (b"\x01n\x06\x80\x00" + bytes(32_768), "must have at most 32767 bytes, got 32768", 0, 11),  # ES-HEADER-13
            (b"\x01n\x07\x80\x00" + b"x" * 32_768, "must have at most 32767 bytes, got 32768", 0, 11),
            (b"\x02n\xff\x00", "expected name in UTF-8, got b'n\\xff'", 2, 14),  # ES-HEADER-14
            (b"\x01n\x07\x00\x03ab\xc3", "expected string in UTF-8, got b'ab\\xc3'", 7, 14),
            (b"\x01n\x07\x00\x02\xc0\x80", "expected string in UTF-8, got b'\\xc0\\x80'", 5, 14),
            (b"\x01n\x07\x00\x03\xed\xa0\x80", "expected string in UTF-8, got b'\\xed\\xa0\\x80'", 5, 14),
            (b"\x01n\x00\x01m\x00\x01n\x01", "must stand once in its message, got 'n' twice", 6, 4),  # ES-HEADER-5
        ],
    )
    def test_refusals(self, headers: bytes, reason: str, at: int, number: int, role: Role) -> None:
        """With a reason, the byte of the stream, the rule; the payload is no part of the headers (ES-HEADER-15)."""
        fault = fault_of(HI + framed(headers, b"\x01p\x00"), role)
        assert reason in fault.reason
        assert (fault.at, fault.rule) == (len(HI) + 12 + at, f"ES-HEADER-{number}")

    def test_the_order_is_kept(self) -> None:
        """It means nothing, and yet what was read can be written again."""
        wire = framed(header(b"z", 0, b"") + header(b"a", 1, b""))
        assert [held.name for held in read(wire)[0].headers] == ["z", "a"]
        assert encode_event_stream(read(wire)[0]) == wire

    @BOTH
    def test_empty_values_are_read(self, role: Role) -> None:
        """As AWS's C library reads them (ES-HEADER-12)."""
        (message,) = read(framed(header(b"a", 6, b"\0\0") + header(b"s", 7, b"\0\0")), role)
        assert [(held.name, held.value) for held in message.headers] == [("a", b""), ("s", "")]

    def test_a_service_counts_headers(self) -> None:
        """1,024 as in AWS's C library; a client, as AWS's Python clients, reads any number (ES-LIMIT-6)."""
        many = b"".join([header(b"%04d" % number, 0, b"") for number in range(1025)])
        assert len(read(framed(many[:-6]), Role.SERVER)[0].headers) == 1024
        fault = fault_of(framed(many), Role.SERVER)
        assert (fault.reason, fault.at) == ("expected at most 1024 headers, got 1025 or more", 12 + 1024 * 6)
        assert fault.rule == "ES-LIMIT-6"
        assert len(read(framed(many), Role.CLIENT)[0].headers) == 1025


class TestStream:
    """Messages follow each other without a gap; an end is said, seen, and judged."""

    @BOTH
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_bytes(self, role: Role, kind: type[bytes | bytearray | memoryview]) -> None:
        """Generous at the mouth, exact at the hand."""
        decoder = EventStreamDecoder(role)
        decoder.feed(kind(HI + HI))
        for _ in range(2):
            message = decoder.next_message()
            assert message == EventStreamMessage(payload=b"hi")
            assert type(message.payload) is bytes
        assert decoder.next_message() is NEED_DATA

    def test_a_message_is_given_with_its_last_byte(self) -> None:
        """Not before, and not after the next has begun."""
        decoder = EventStreamDecoder(Role.CLIENT)
        decoder.feed(HI[:-1])
        assert decoder.next_message() is NEED_DATA
        decoder.feed(HI[-1:])
        assert decoder.next_message() == EventStreamMessage(payload=b"hi")

    @BOTH
    def test_cut_anywhere(self, role: Role) -> None:
        """Truncation is an error that names the offset; between messages it is an end (ES-FRAME-11)."""
        wire = HI + COMPLETE
        for size in range(len(wire)):
            messages, fault = verdict([wire[:size]] if size else [], role)
            assert messages == [EventStreamMessage(payload=b"hi")] * (size >= len(HI))
            if size in (0, len(HI)):
                assert fault == ""
                continue
            fault_at_end = fault_of(wire[:size], role, ends=True)
            begun = size - len(HI) * (size >= len(HI))
            assert fault_at_end.at == size
            assert f"got {begun} bytes and then the end of the stream" in fault_at_end.reason

    @pytest.mark.parametrize(("size", "wanted"), [(11, "16 bytes or more"), (12, "102 bytes"), (101, "102 bytes")])
    def test_what_is_missing_is_said(self, size: int, wanted: str) -> None:
        """As far as it is known."""
        fault = fault_of(COMPLETE[:size], ends=True)
        assert fault.reason == f"expected a message of {wanted}, got {size} bytes and then the end of the stream"

    def test_ended(self) -> None:
        """Only when the end was said, nothing is left, and nothing was wrong."""
        decoder = EventStreamDecoder(Role.CLIENT)
        decoder.feed(HI)
        decoder.feed(b"")
        assert not decoder.ended
        assert decoder.next_message() == EventStreamMessage(payload=b"hi")
        assert decoder.ended
        assert decoder.next_message() is NEED_DATA
        decoder.feed(HI)
        assert decoder.next_message() is NEED_DATA
        assert decoder.ended

    @pytest.mark.parametrize(
        "wire", [bytes(12), HI[:-1] + b"x", framed(b"\x00\x00"), prelude(15, 0), prelude(16, 1), HI[:5]]
    )
    def test_a_fault_is_for_ever(self, wire: bytes) -> None:
        """Raised again each time, whatever comes; the stream has not ended (ES-FRAME-12, ES-CRC-6)."""
        decoder = EventStreamDecoder(Role.CLIENT)
        decoder.feed(wire)
        if wire == HI[:5]:
            decoder.feed(b"")
        faults: list[Malformed] = []
        for _ in range(3):
            with pytest.raises(Malformed) as caught:
                decoder.next_message()
            faults.append(caught.value)
            decoder.feed(HI)
            assert not decoder.ended
        assert all(fault is faults[0] for fault in faults)
        decoder.feed(b"")
        assert not decoder.ended


@pytest.fixture
def summed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the sizes that checksums were computed of."""
    sizes: list[int] = []

    def counting(data: bytes, value: int = 0) -> int:
        sizes.append(len(data))
        return crc32(data, value)

    monkeypatch.setattr(event_stream, "crc32", counting)
    return sizes


class TestCost:
    """Double the input, double the work; seen by counting copies and checksums, not by a clock."""

    def work(self, pieces: list[bytes], summed: list[int]) -> int:
        """Return the bytes summed."""
        decoder = EventStreamDecoder(Role.CLIENT)
        summed.clear()
        read_on(decoder, [*pieces, b""])
        assert decoder.ended
        return sum(summed)

    @pytest.mark.parametrize(("payload", "plainly"), [(b"{}", [8, 96, 2]), (b"", [8, 96])])
    def test_many_messages_in_one_delivery(self, payload: bytes, plainly: list[int], summed: list[int]) -> None:
        """Headers are summed once a run; of each message then only its payload is, whether it has one or not."""
        for count in (1000, 2000):
            self.work([framed(COMPLETE[12:96], payload) * count], summed)
            assert summed == [*plainly, 8, 96, *[len(payload)] * (count - 1)]  # the first is read plainly

    def test_messages_of_many_lengths(self, summed: list[int]) -> None:
        """Each byte is summed once, and the lengths in front once more."""
        block = COMPLETE[12:96]
        wire = b"".join([framed(block, bytes(size % 50)) for size in range(1000)])
        assert self.work([wire], summed) == len(wire) + 1000 * (8 - 4)

    def test_a_message_that_trickles_in(self, summed: list[int]) -> None:
        """Byte by byte costs what it costs at once: nothing is looked at again."""
        wire = framed(COMPLETE[12:96], bytes(50_000))
        at_once = self.work([wire], summed)
        assert at_once == len(wire) + 8 - 4
        assert self.work([wire[at : at + 1] for at in range(len(wire))], summed) == at_once

    def test_many_deliveries_before_the_first_is_read(self) -> None:
        """What comes meanwhile is kept together, and moved once."""
        decoder = EventStreamDecoder(Role.CLIENT)
        for byte in COMPLETE * 2:
            decoder.feed(bytes([byte]))
        assert [decoder.next_message() for _ in range(3)] == [COMPLETE_MESSAGE] * 2 + [NEED_DATA]
        assert not decoder._later

    def test_few_and_small_blocks_of_headers_are_remembered(self) -> None:
        """However many a peer sends, and however large."""
        decoder = EventStreamDecoder(Role.CLIENT)
        large = framed(header(b"n", 6, b"\x02\x00" + bytes(512)))
        for number in range(100):
            read_on(decoder, [framed(header(b"%d" % number, 0, b"")), large])
            assert 1 <= len(decoder._known) <= 8
            assert all(len(block) <= 512 for block in decoder._known)

    def test_headers_that_come_again_are_held_once(self) -> None:
        """What Lambda answers has two kinds of messages: who keeps all of them keeps two sets of headers."""
        wire = (COMPLETE + framed(header(b"n", 7, b"\x00\x01v"), b"{}")) * 9
        for pieces in deliveries(wire):
            decoder = EventStreamDecoder(Role.CLIENT)
            messages: list[EventStreamMessage] = []
            for piece in pieces:
                decoder.feed(piece)
                while (message := decoder.next_message()) is not NEED_DATA:
                    messages.append(message)
            assert len(messages) == 18
            assert len({id(message.headers) for message in messages}) == 2

    def test_no_message_is_made_before_it_is_asked_for(self, summed: list[int]) -> None:
        """A large delivery is not held twice."""
        decoder = EventStreamDecoder(Role.CLIENT)
        decoder.feed(framed(COMPLETE[12:96], bytes(1000)) * 100)
        for count in range(1, 51):
            assert isinstance(decoder.next_message(), EventStreamMessage)
            assert summed.count(1000) == count

    @BOTH
    def test_a_message_is_held_once(self, role: Role) -> None:
        """Also a large one that comes in many pieces: they are not kept until it is whole."""
        wire = framed(COMPLETE[12:96], bytes(4 << 20))
        pieces = [wire[at : at + 65_536] for at in range(0, len(wire), 65_536)]
        decoder = EventStreamDecoder(role)
        message: object = None
        tracemalloc.start()
        try:
            for piece in pieces:
                decoder.feed(piece)
                message = decoder.next_message()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert isinstance(message, EventStreamMessage)
        assert peak < 1.25 * len(message.payload)

    def test_nothing_is_reserved_for_what_is_announced(self) -> None:
        """Four gigabytes are announced; what is held is what came (ES-FRAME-10)."""
        for announced in (prelude(2**32 - 1, 2**31), prelude(2**32 - 1, 0)):
            decoder = EventStreamDecoder(Role.CLIENT)
            read_on(decoder, [announced, b"x"])
            assert decoder.unread == 13
            held = [getattr(decoder, name) for name in decoder.__slots__]
            assert sum(sys.getsizeof(part) for part in held) < 2000


def one_by_one(wire: bytes, role: Role) -> Verdict:
    """Return what comes of a stream when each message is read from its first byte to its last, by a new decoder."""
    messages: list[EventStreamMessage] = []
    start = 0
    while start < len(wire):
        decoder = EventStreamDecoder(role)
        message: object = NEED_DATA
        at = start
        try:
            while message is NEED_DATA and at < len(wire):
                decoder.feed(wire[at : at + 1])
                at += 1
                message = decoder.next_message()
            decoder.feed(b"")
            decoder.next_message()
        except Malformed as fault:
            return messages, str(Malformed(fault.reason, at=start + (fault.at or 0)))
        assert isinstance(message, EventStreamMessage)
        messages.append(message)
        start = at
    return messages, ""


BLOCKS = st.sampled_from(
    [
        b"",
        COMPLETE[12:96],
        header(b"n", 0, b""),
        header(b"n", 1, b""),
        header(b"n", 0, b"") * 2,
        header(b"m", 6, b"\x01\xf9" + bytes(505)),
        header(b"m", 6, b"\x01\xfc" + bytes(508)),
        b"\x01n\x0a",
    ]
)


class TestRecognised:
    """What is read at once, with headers that are remembered, is what is read plainly."""

    @BOTH
    @given(
        frames=st.lists(st.tuples(BLOCKS, st.binary(max_size=3), st.integers(1, 4)), max_size=6),
        at=st.integers(0, 3000),
        bit=st.integers(0, 8),
        lost=st.integers(0, 20),
    )
    def test_it_is_as_plain(
        self, role: Role, frames: list[tuple[bytes, bytes, int]], at: int, bit: int, lost: int
    ) -> None:
        """The same messages, the same fault at the same byte: of runs, of repeated blocks, of a bit that flipped."""
        wire = bytearray(b"".join([framed(block, payload) * times for block, payload, times in frames]))
        if at < len(wire) and bit < 8:
            wire[at] ^= 1 << bit
        data = bytes(wire[: len(wire) - lost] if lost < len(wire) else wire)
        assert agreed(data, role) == one_by_one(data, role)

    @BOTH
    @pytest.mark.parametrize("before", [1, 2, 3])
    def test_every_bit_counts_after_others(self, role: Role, before: int) -> None:
        """Also of a message that looks like the ones before."""
        for bit in range(8 * len(COMPLETE)):
            flipped = bytearray(COMPLETE)
            flipped[bit // 8] ^= 1 << bit % 8
            wire = COMPLETE * before + bytes(flipped) + COMPLETE
            assert verdict([wire], role) == one_by_one(wire, role)

    @BOTH
    @pytest.mark.parametrize(
        "wire",
        [
            framed(b"") * 3,
            framed(COMPLETE[12:96], COMPLETE * 3) * 3,
            framed(header(b"nn", 0, b"")) * 2 + framed(header(b"nn", 0, b"") + header(b"m", 0, b""), b"x") * 2,
        ],
        ids=["nothing", "messages as a payload", "headers that begin as others"],
    )
    def test_cut_in_two(self, wire: bytes, role: Role) -> None:
        """What is known of a message that is not whole, and what only looks known, is read as ever."""
        expected = one_by_one(wire, role)
        for at in range(1, len(wire)):
            assert verdict([wire[:at], wire[at:]], role) == expected

    def test_a_service_still_limits_payloads(self) -> None:
        """Of a message whose headers it knows."""
        wire = HI + HI + framed(b"", bytes(limits.MAX_EVENT_STREAM_PAYLOAD + 1))
        assert verdict([wire], Role.SERVER)[1].startswith("expected at most 25165824 bytes of payload, got 25165825")
        assert len(verdict([wire], Role.CLIENT)[0]) == 3

    def test_the_fault_waits_for_its_turn(self) -> None:
        """What came before it is given first; then it is for ever."""
        decoder = EventStreamDecoder(Role.CLIENT)
        decoder.feed(HI * 3 + bytes(12) + HI)
        assert [decoder.next_message() for _ in range(3)] == [EventStreamMessage(payload=b"hi")] * 3
        for _ in range(2):
            with pytest.raises(Malformed, match="prelude CRC"):
                decoder.next_message()

    @given(messages=st.lists(MESSAGES, min_size=1, max_size=3), times=st.integers(1, 3))
    def test_written_again_it_is_the_same(self, messages: list[EventStreamMessage], times: int) -> None:
        """Headers that were written last are not encoded again; other ones that are equal give the same bytes."""
        for message in messages:
            again = EventStreamMessage(headers=(*message.headers,), payload=message.payload)
            wires = {encode_event_stream(made) for made in [message] * times + [again]}
            assert wires == {framed(b"".join(map(header_bytes, message.headers)), message.payload)}

    def test_large_headers_are_not_kept(self) -> None:
        """Nothing large outlives its message."""
        message = EventStreamMessage(headers=tuple(wide_headers(limits.MAX_EVENT_STREAM_HEADERS)))
        assert encode_event_stream(message) == encode_event_stream(message)
        assert event_stream._written[0][0] is not message.headers


def header_bytes(held: EventStreamHeader) -> bytes:
    """Return a header alone, cut out of a message."""
    return encode_event_stream(EventStreamMessage(headers=(held,)))[12:-4]


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(
        parts=st.lists(
            st.sampled_from(
                [b"\x01n", b"\x01m", b"\x00", b"\x01", b"\x02\xff", b"\x06\x00\x01x", b"\x07\x00\x00", b"\x09", b"\xc3"]
            ),
            max_size=12,
        ),
        size=st.integers(0, 40),
    )
    @example(parts=[b"\x01n", b"\x00", b"\x01m", b"\x07\x00\x00"], size=8)
    def test_nearly_right(self, parts: list[bytes], size: int) -> None:
        """Parts of headers in any order, under right lengths and checksums."""
        one_input(bytes([size]) + b"".join(parts))

    @given(messages=st.lists(MESSAGES, max_size=3), at=st.integers(0, 400), byte=st.binary(max_size=1))
    def test_one_byte_off(self, messages: list[EventStreamMessage], at: int, byte: bytes) -> None:
        """A stream with one byte replaced or lost."""
        wire = b"".join(map(encode_event_stream, messages))
        one_input(wire[:at] + byte + wire[at + 1 :])

    def test_a_sealed_message_reaches_its_headers(self) -> None:
        """The target's own message has lengths and checksums that hold."""
        expected: Verdict = ([EventStreamMessage(headers=tuple(many_headers(1)), payload=b"rest")], "")
        assert agreed(sealed(b"\x03\x010\x00rest"), Role.SERVER) == expected

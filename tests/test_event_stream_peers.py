"""Event streams beside AWS's own implementations: their published vectors, and botocore's decoder on the same bytes.

The vectors are facts of awslabs/aws-c-event-stream d47b14c, boto/botocore 0e6e2404 and smithy-lang/smithy-python
6924bc5d, each with the file and the line at which it stands there.
"""

from __future__ import annotations

import importlib
import random
import re
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest

from fuzz.fuzz_event_stream import agreed, verdict
from lambda_wire._event_stream import (
    EventStreamDecoder,
    EventStreamHeader,
    EventStreamMessage,
    HeaderType,
    encode_event_stream,
)
from lambda_wire._signals import NEED_DATA, Role
from tests.real_parts import need_module

MESSAGES = 10_000
MUTANTS = 20_000

#: Headers as (name, number of the type, value).
Fields = list[tuple[str, int, Any]]  # Any: bool, int, bytes or str

NUMBERS = {
    HeaderType.BYTE: 2,
    HeaderType.SHORT: 3,
    HeaderType.INTEGER: 4,
    HeaderType.LONG: 5,
    HeaderType.BYTE_ARRAY: 6,
    HeaderType.STRING: 7,
    HeaderType.TIMESTAMP: 8,
    HeaderType.UUID: 9,
}
TYPES = {0: HeaderType.BOOLEAN, 1: HeaderType.BOOLEAN} | {number: kind for kind, number in NUMBERS.items()}


# -- an encoder that shares nothing with ours


def packed(fields: Fields) -> bytes:
    """Return headers as the specification draws them."""
    layouts = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}
    written = b""
    for name, number, value in fields:
        written += struct.pack(">B", len(name.encode())) + name.encode() + struct.pack(">B", number)
        if number in layouts:
            written += struct.pack(layouts[number], value)
        elif number in (6, 7):
            content = value.encode() if number == 7 else value
            written += struct.pack(">H", len(content)) + content
        elif number == 9:
            written += value
    return written


def framed(headers: bytes, payload: bytes = b"", *, total: int | None = None, size: int | None = None) -> bytes:
    """Return a message with checksums that hold; its lengths, too, where none is given."""
    total = 16 + len(headers) + len(payload) if total is None else total
    lengths = struct.pack(">II", total, len(headers) if size is None else size)
    message = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def message_of(fields: Fields, payload: bytes) -> EventStreamMessage:
    headers = [EventStreamHeader(name=name, value=value, type=TYPES[number]) for name, number, value in fields]
    return EventStreamMessage(headers=tuple(headers), payload=payload)


# -- published vectors

#: Where it stands, its fields in hexadecimal, its headers, its payload. Read, and written again as the same bytes.
ACCEPTED: list[tuple[str, str, Fields, bytes]] = [
    (
        (
            "aws-c-event-stream tests/message_deserializer_test.c:12, message_serializer_test.c:11, "
            "message_streaming_decoder_test.c:92, channel_handler_test.c:95; botocore tests/unit/test_eventstream.py:34"
        ),
        "00000010 00000000 05c248eb  7d98c8ff",
        [],
        b"",
    ),
    (
        (
            "aws-c-event-stream tests/message_deserializer_test.c:40, message_serializer_test.c:34, "
            "message_streaming_decoder_test.c:150, channel_handler_test.c:124; "
            "botocore tests/unit/test_eventstream.py:116"
        ),
        "0000001d 00000000 fd528c5a  7b27666f6f273a27626172277d  c3653936",
        [],
        b"{'foo':'bar'}",
    ),
    (
        (
            "aws-c-event-stream tests/message_deserializer_test.c:84, message_serializer_test.c:60, "
            "message_streaming_decoder_test.c:211, channel_handler_test.c:149; "
            "botocore tests/unit/test_eventstream.py:130"
        ),
        (
            "0000003d 00000020 07fd8396  0c636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"
            "7b27666f6f273a27626172277d  8d9c08b1"
        ),
        [("content-type", 7, "application/json")],
        b"{'foo':'bar'}",
    ),
    (
        "aws-c-event-stream tests/message_serializer_test.c:105",
        "0000002b 0000000e 348bec7b  086576656e742d6964 04 0000a00c  7b27666f6f273a27626172277d  d3890285",
        [("event-id", 4, 0xA00C)],
        b"{'foo':'bar'}",
    ),
    (
        "aws-c-event-stream tests/message_streaming_decoder_test.c:301",
        "0000001b 0000000b e5c0a072  056576656e74 04 00000020  04a1d47c",
        [("event", 4, 32)],
        b"",
    ),
    (
        "aws-c-event-stream tests/message_streaming_decoder_test.c:459",
        "00000017 00000007 29860158  056576656e74 00  4b4d2be7",
        [("event", 0, True)],
        b"",
    ),
    (
        "botocore tests/unit/test_eventstream.py:48",
        "00000017 00000007 29860158  0462797465 02 ff  c2f869dc",
        [("byte", 2, -1)],
        b"",
    ),
    (
        "botocore tests/unit/test_eventstream.py:65",
        "00000019 00000009 710e923e  0573686f7274 03 ffff  b27cb6cc",
        [("short", 3, -1)],
        b"",
    ),
    (
        "botocore tests/unit/test_eventstream.py:82",
        "0000001d 0000000d 83e3f0e7  07696e7465676572 04 ffffffff  8b8e12eb",
        [("integer", 4, -1)],
        b"",
    ),
    (
        "botocore tests/unit/test_eventstream.py:99",
        "0000001e 0000000e 5d4adb8d  046c6f6e67 05 ffffffffffffffff  4bc232da",
        [("long", 5, -1)],
        b"",
    ),
    (
        "botocore tests/unit/test_eventstream.py:147",
        (
            "00000062 00000052 03b5cb9c  0130 00  0131 01  0132 02 02  0133 03 0003  0134 04 00000004"
            "0135 05 0000000000000005  0136 06 0005 6279746573  0137 07 0004 75746638  0138 08 0000000000000008"
            "0139 09 30313233343536373839616263646566  63353671"
        ),
        [
            *[("0", 0, True), ("1", 1, False), ("2", 2, 2), ("3", 3, 3), ("4", 4, 4), ("5", 5, 5)],
            *[("6", 6, b"bytes"), ("7", 7, "utf8"), ("8", 8, 8), ("9", 9, b"0123456789abcdef")],
        ],
        b"",
    ),
    (
        "botocore tests/unit/test_eventstream.py:179",
        (
            "00000052 00000042 bf23637e  0d3a6d6573736167652d74797065 07 0005 6572726f72"
            "0b3a6572726f722d636f6465 07 0004 636f6465  0e3a6572726f722d6d657373616765 07 0007 6d657373616765  6b6cea3d"
        ),
        [(":message-type", 7, "error"), (":error-code", 7, "code"), (":error-message", 7, "message")],
        b"",
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:55",
        "00000016 00000006 63e1187e  0474727565 00  f1e7bcd7",
        [("true", 0, True)],
        b"",
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:76",
        "00000017 00000007 29860158  0566616c7365 01  52317ef4",
        [("false", 1, False)],
        b"",
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:182",
        "0000001e 0000000e 5d4adb8d  056279746573 06 0005 6279746573  a1644dbf",
        [("bytes", 6, b"bytes")],
        b"",
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:203",
        "00000020 00000010 b954e009  06737472696e67 07 0006 737472696e67  4c8d9e14",
        [("string", 7, "string")],
        b"",
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:224",
        "00000023 00000013 67fdcb63  0974696d657374616d70 08 0000000000000008  8d4533ee",
        [("timestamp", 8, 8)],
        b"",
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:249",
        "00000026 00000016 df77b09c  0475756964 09 30313233343536373839616263646566  c906b865",
        [("uuid", 9, b"0123456789abcdef")],
        b"",
    ),
]

#: Where it stands, its bytes, why it is refused, at which byte.
REJECTED: list[tuple[str, bytes, str, int]] = [
    (
        "aws-c-event-stream tests/message_streaming_decoder_test.c:829",
        bytes.fromhex("00000014 00000008 fe996619  0000000000 00000000"),
        "headers length 8 exceeds total length 20 - 16",
        4,
    ),
    (
        "aws-c-event-stream tests/message_streaming_decoder_test.c:872",
        bytes.fromhex("0000000c 00000000 a0d23268  00"),
        "expected a total length of 16 or more, got 12",
        0,
    ),
    (
        "aws-c-event-stream tests/channel_handler_test.c:353",
        bytes.fromhex("00000010 00000000 05c348eb  7d98c8ff"),
        "expected prelude CRC 05c248eb over what came, got 05c348eb",
        8,
    ),
    (
        "aws-c-event-stream tests/channel_handler_test.c:518",
        bytes.fromhex("00000005 00000000 adc25019  00"),
        "expected a total length of 16 or more, got 5",
        0,
    ),
    (
        "botocore tests/unit/test_eventstream.py:216",
        bytes.fromhex(
            "0000003d ff000102 07fd8396  0c636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"
            "7b27666f6f273a27626172277d  8d9c08b1"
        ),
        "expected prelude CRC 1583f5c2 over what came, got 07fd8396",
        8,
    ),
    (
        "botocore tests/unit/test_eventstream.py:224",
        bytes.fromhex(
            "0000003d 00000020 07fd8396  0c636f6e74656e742b74797065 07 0010 6170706c69636174696f6e2f6a736f6e"
            "7b27666f6f273a27626172277d  8d9c08b1"
        ),
        "over what came, got 8d9c08b1",
        57,
    ),
    (
        "botocore tests/unit/test_eventstream.py:232",
        bytes.fromhex("0100001d 00000000 fd528c5a  7b27666f6f273a27626172277d  c3653936"),
        "over what came, got fd528c5a",
        8,
    ),
    (
        "botocore tests/unit/test_eventstream.py:237",
        bytes.fromhex("0000001d 00000000 fd528c5a  7b27666f6f273a27626172278d  c3653936"),
        "over what came, got c3653936",
        25,
    ),
    (
        "botocore tests/unit/test_eventstream.py:242",
        bytes.fromhex("00000024 00000014 4bb982d0  0474657374 04 61736466  0474657374 04 61736466  f3f47563"),
        "must stand once in its message, got 'test' twice",
        22,
    ),
    (
        "botocore tests/unit/test_eventstream.py:252",
        bytes.fromhex(
            "0000003d ff000102 1583f5c2  0c636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"
            "7b27666f6f273a27626172277d  2f377f5d"
        ),
        "headers length 4278190338 exceeds total length 61 - 16",
        4,
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:476",
        bytes.fromhex("0000801c 0000800c ecb76552  08746f6f2d6c6f6e67 06 8000") + b"0" * 32_768 + b"\x7e\x41\x46\xee",
        "must have at most 32767 bytes, got 32768",
        12,
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:495",
        bytes.fromhex("00"),
        "got 1 bytes and then the end of the stream",
        1,
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:497",
        bytes.fromhex("00000016"),
        "got 4 bytes and then the end of the stream",
        4,
    ),
    (
        "smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:499",
        bytes.fromhex("00000010 00000000 05c248eb"),
        "expected a message of 16 bytes, got 12 bytes and then the end of the stream",
        12,
    ),
    # What source/event_stream.c of AWS's C library refuses, beyond what its tests show; the line is the check's.
    ("event_stream.c:259", framed(b"\x05name"), "expected name of 5 bytes, got 4", 13),
    ("event_stream.c:262", framed(b"\x04name"), "expected type of 1 bytes, got 0", 17),
    ("event_stream.c:277", framed(b"\x04name\x02"), "expected byte of 1 bytes, got 0", 18),
    ("event_stream.c:283", framed(b"\x04name\x03\x00"), "expected short of 2 bytes, got 1", 18),
    ("event_stream.c:289", framed(b"\x04name\x04\x00"), "expected integer of 4 bytes, got 1", 18),
    ("event_stream.c:296", framed(b"\x04name\x05\x00"), "expected long of 8 bytes, got 1", 18),
    ("event_stream.c:302", framed(b"\x04name\x06\x00"), "expected length of a byte_array of 2 bytes, got 1", 18),
    ("event_stream.c:305", framed(b"\x04name\x07\x80\x00" + b"x" * 32_768), "at most 32767 bytes, got 32768", 12),
    ("event_stream.c:307", framed(b"\x04name\x07\x00\x02x"), "expected string of 2 bytes, got 1", 20),
    ("event_stream.c:314", framed(b"\x04name\x09" + bytes(15)), "expected uuid of 16 bytes, got 15", 18),
    ("event_stream.c:436", framed(b"", b"x")[:-1] + b"x", "expected message CRC", 13),
    ("event_stream.c:1313", framed(b"\x04name\x0a"), "expected a header type of 0..9, got 10", 17),
    ("event_stream.c:1408", framed(b"\x01n\x04\x00\x00", b"\x00\x00"), "expected integer of 4 bytes, got 2", 15),
]

BOTH = pytest.mark.parametrize("role", list(Role))


class TestVectors:
    """What other implementations publish as right is read and written alike, and as wrong is refused with a reason."""

    @BOTH
    @pytest.mark.parametrize(("hexadecimal", "fields", "payload"), [case[1:] for case in ACCEPTED])
    def test_accepted(self, hexadecimal: str, fields: Fields, payload: bytes, role: Role) -> None:
        """In every delivery; and our writing gives the same bytes (ES-FRAME-1, ES-CRC-1, ES-HEADER-7)."""
        wire, message = bytes.fromhex(hexadecimal), message_of(fields, payload)
        assert agreed(wire, role) == ([message], "")
        assert encode_event_stream(message) == framed(packed(fields), payload) == wire

    def test_accepted_in_one_stream(self) -> None:
        """All of them, in fragments of every size (as channel_handler_test.c:245 cuts three; ES-FRAME-9)."""
        wire = b"".join([bytes.fromhex(case[1]) for case in ACCEPTED])
        expected = [message_of(fields, payload) for _, _, fields, payload in ACCEPTED]
        for size in range(1, len(wire) + 1):
            pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
            assert verdict(pieces, Role.CLIENT) == (expected, "")

    @BOTH
    def test_empty_values_are_read(self, role: Role) -> None:
        """aws-c-event-stream tests/message_streaming_decoder_test.c:372."""
        wire = bytes.fromhex("00000022 00000012 2d9ad245  0462756666 06 0000  06737472696e67 07 0000  c84cf853")
        assert agreed(wire, role) == ([message_of([("buff", 6, b""), ("string", 7, "")], b"")], "")

    @BOTH
    def test_the_longest_name_is_read(self, role: Role) -> None:
        """aws-c-event-stream tests/message_streaming_decoder_test.c:709, built as it builds it."""
        message = message_of([("A" * 255, 0, True)], b"")
        assert agreed(framed(b"\xff" + b"A" * 255 + b"\x00"), role) == ([message], "")

    def test_an_empty_source_is_no_fault(self) -> None:
        """smithy-python packages/smithy-aws-event-stream/tests/unit/test_events.py:384."""
        assert agreed(b"", Role.CLIENT) == ([], "")

    @BOTH
    @pytest.mark.parametrize("prelude", ["01000001 00000000 94e8f647", "01000011 00000000 f40861c5"])
    def test_more_than_16_mib_is_no_fault(self, prelude: str, role: Role) -> None:
        """aws-c-event-stream tests/channel_handler_test.c:400; smithy-python's :486 still refuses such a payload."""
        decoder = EventStreamDecoder(role)
        decoder.feed(bytes.fromhex(prelude))
        assert decoder.next_message() is NEED_DATA

    @BOTH
    @pytest.mark.parametrize(("wire", "reason", "at"), [case[1:] for case in REJECTED], ids=[c[0] for c in REJECTED])
    def test_rejected(self, wire: bytes, reason: str, at: int, role: Role) -> None:
        """In every delivery, by both ends."""
        messages, fault = agreed(wire, role)
        assert messages == []
        assert reason in fault
        assert fault.endswith(f"(at byte {at})")

    @BOTH
    def test_too_many_headers_as_its_test_builds_them(self, role: Role) -> None:
        """Tests/message_deserializer_test.c:166 of aws-c-event-stream: no name has a byte, and a MiB has too many."""
        _, fault = verdict([framed(bytes(1024 * 1024 - 16))], role)
        assert ("131072 bytes of headers" if role is Role.SERVER else "must have 1-255 bytes, got 0") in fault

    def test_too_large_a_payload_as_botocore_tests_it(self) -> None:
        """Tests/unit/test_eventstream.py:266: refused by a service before it comes; a client looks at its checksum."""
        wire = bytes.fromhex("01800021 00000000 dd3f33b1") + b"0" * (24 * 1024**2 + 1) + bytes.fromhex("2ab4c5a5")
        assert "expected at most 25165824 bytes of payload, got 25165841" in verdict([wire], Role.SERVER)[1]
        assert "the end of the stream" in verdict([wire], Role.CLIENT)[1]

    def test_the_difference_to_the_c_library(self) -> None:
        """Sizes and counts alone: what it refuses of them, a client reads, and a service up to the specification's.

        source/event_stream.c:414 and :1503 (a message above 24 MiB), :253 (more than 1,024 headers, in messages that
        are read whole; its streaming decoder does not count).
        """
        many = framed(packed([(str(number), 0, True) for number in range(1025)]))
        assert "at most 1024 headers" in verdict([many], Role.SERVER)[1]
        assert verdict([many], Role.CLIENT)[1] == ""
        large = framed(b"", bytes(24 * 1024 * 1024 - 15))
        assert len(large) == 24 * 1024 * 1024 + 1
        assert [verdict([large], role)[1] for role in Role] == ["", ""]


# -- botocore


@pytest.fixture
def botocore() -> Any:
    need_module("botocore")
    return importlib.import_module("botocore.eventstream")


def read_by_botocore(botocore: Any, wire: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Return the headers and the payload of every message that botocore finds."""
    buffer = botocore.EventStreamBuffer()
    buffer.add_data(wire)
    return [(message.headers, message.payload) for message in buffer]


def as_botocore_says(message: EventStreamMessage) -> tuple[dict[str, Any], bytes]:
    return {header.name: header.value for header in message.headers}, message.payload


def some_text(dice: random.Random, least: int, most: int) -> str:
    alphabet = 'abcXYZ:-_ 019\x00\x7f"é߿ࠀ€\uffff😀\U0010ffff'
    return "".join(dice.choices(alphabet, k=dice.randint(least, most)))


def some_fields(dice: random.Random) -> Fields:
    """Return headers of any types, no name twice."""
    sizes = {2: 8, 3: 16, 4: 32, 5: 64, 8: 64}
    fields: Fields = []
    for name in {some_text(dice, 1, dice.choice((1, 8, 60))) for _ in range(dice.choice((0, 1, 2, 3, 3, 12)))}:
        number = dice.randrange(10)
        value: Any = number == 0
        if number in sizes:
            bound = 1 << sizes[number] - 1
            value = dice.choice((-bound, -1, 0, 1, bound - 1, dice.randrange(-bound, bound)))
        elif number == 7:
            value = some_text(dice, 1, dice.choice((1, 20, 300)))
        elif number in (6, 9):
            value = dice.randbytes(16 if number == 9 else dice.choice((1, 5, 255, 256, 1000)))
        fields.append((name, number, value))
    return sorted(fields)


def some_messages(seed: int, count: int) -> Iterator[tuple[Fields, bytes]]:
    dice = random.Random(seed)
    for _ in range(count):
        yield some_fields(dice), dice.randbytes(dice.choice((0, 1, 2, 40, 900)))


def mutated(dice: random.Random, fields: Fields, payload: bytes) -> bytes:
    """Return a message with one thing wrong, most often under checksums that hold."""
    headers = packed(fields)
    wire = framed(headers, payload)
    at, near = dice.randrange(len(wire)), dice.choice((-9, -4, -3, -2, -1, 1, 2, 3, 4, 9, 2**16, 2**31))
    match dice.randrange(8):
        case 0:  # a bit flips on its way
            return wire[:at] + bytes([wire[at] ^ 1 << dice.randrange(8)]) + wire[at + 1 :]
        case 1:  # the stream breaks off
            return wire[: at or 1]
        case 2:  # too much, or something else, follows
            return wire + dice.choice((wire[:at], dice.randbytes(dice.randint(1, 40))))
        case 3:  # the total is another
            return framed(headers, payload, total=max(0, len(wire) + near) % 2**32)
        case 4:  # the headers end elsewhere
            headers += dice.choice((b"", b"\x01n\x06\xff\xff"))
            payload = payload if dice.randrange(2) else b""
            return framed(headers, payload, size=max(0, len(headers) + near) % 2**32)
        case 5 if headers:  # a byte of the headers is another
            at = dice.randrange(len(headers))
            return framed(
                headers[:at] + dice.choice((b"\x00", b"\xff", dice.randbytes(1))) + headers[at + 1 :], payload
            )
        case 6 if headers:  # the headers end too early
            return framed(headers[: dice.randrange(len(headers))], payload)
        case _:  # there are more headers
            more: Fields = [*fields[:1], ("", 0, True), ("n", 7, ""), ("long", 6, bytes(32_768))]
            return framed(headers + packed([dice.choice(more)]), payload)


#: What botocore takes and we refuse, each with the reason that we give.
KNOWN = {
    "a stream that breaks off": "then the end of the stream",
    "a total of 12, as an empty message": "expected a total length of 16 or more, got 12",
    "headers that end after their message": "exceeds total length",
    "a name without a byte": "must have 1-255 bytes, got 0",
    "a value above 32,767 bytes": "must have at most 32767 bytes",
    "a string, byte array or UUID that ends before its length": r"expected (string|byte_array|uuid) of .* got",
}


class TestBotocore:
    """AWS's SDK for Python reads what we write, and we refuse what it refuses."""

    def test_reads_what_we_write(self, botocore: Any) -> None:
        """10,000 messages: the same bytes as an encoder of its own, the same meaning there and here.

        It shows ES-FRAME-1, ES-HEADER-1.
        """
        count = 0
        for fields, payload in some_messages(20261121, MESSAGES):
            message = message_of(fields, payload)
            wire = encode_event_stream(message)
            assert wire == framed(packed(fields), payload)
            assert verdict([wire], Role.SERVER) == verdict([wire], Role.CLIENT) == ([message], "")
            (read,) = read_by_botocore(botocore, wire)
            headers, _ = as_botocore_says(message)
            assert read == (headers, payload)
            assert [type(value) for value in read[0].values()] == [type(value) for value in headers.values()]
            count += 1
        assert count == MESSAGES

    def test_we_refuse_what_it_refuses(self, botocore: Any) -> None:
        """20,000 messages with a fault: we give what it gives, or refuse; where it does not, for a known reason."""
        dice = random.Random(7)
        refused, met = 0, dict.fromkeys(KNOWN, 0)
        for fields, payload in some_messages(11, MUTANTS):
            wire = mutated(dice, fields, payload)
            messages, fault = verdict([wire], Role.SERVER)
            assert verdict([wire], Role.CLIENT)[0][: len(messages)] == messages
            try:
                read = read_by_botocore(botocore, wire)
            except Exception:  # noqa: BLE001  # struct.error, KeyError and others: whatever leaves it is a refusal
                assert fault
                refused += 1
                continue
            if not fault:
                assert [as_botocore_says(message) for message in messages] == read
                continue
            reasons = [known for known, reason in KNOWN.items() if re.search(reason, fault)]
            assert len(reasons) == 1, fault
            met[reasons[0]] += 1
        assert refused > MUTANTS / 10
        assert all(met.values()), met

    def test_the_total_of_12(self, botocore: Any) -> None:
        """The vector that AWS's C library calls too short (message_streaming_decoder_test.c:872)."""
        wire = bytes.fromhex("0000000c 00000000 a0d23268")
        assert read_by_botocore(botocore, wire) == [({}, b"")]
        assert KNOWN["a total of 12, as an empty message"] in verdict([wire], Role.SERVER)[1]

    def test_a_client_reads_more(self, botocore: Any) -> None:
        """It refuses sizes as a client, which the specification forbids."""
        wide = framed(packed([(str(number), 6, bytes(32_767)) for number in range(5)]))
        with pytest.raises(botocore.InvalidHeadersLength):
            read_by_botocore(botocore, wide)
        assert "bytes of headers" in verdict([wide], Role.SERVER)[1]
        assert verdict([wide], Role.CLIENT)[1] == ""

"""Which rule of ``spec/`` a fault of the core names: it is one of the specification, and the one that is broken."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_wire._answers import decode_answer
from lambda_wire._buffer import Buffer
from lambda_wire._chunked import ChunkDecoder
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._event_stream import EventStreamDecoder, EventStreamHeader, EventStreamMessage, encode_event_stream
from lambda_wire._events import ConnectionClosed, NextAsked, RestoreAsked
from lambda_wire._http11 import MessageReader
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_events import InvokeAsked
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MessageEnd
from lambda_wire._prelude import DELIMITER, PreludeDecoder
from lambda_wire._routes import match
from lambda_wire._signals import Role, Signal
from lambda_wire.testing import deliveries
from tests.test_event_stream import framed, prelude
from tests.test_spec import of_disk

PACKAGE = Path(__file__).resolve().parent.parent / "lambda_wire"
RULE = re.compile(r"[A-Z]{2}-[A-Z]+-\d+")

Reader = Callable[[list[bytes]], object]


def chunks(pieces: list[bytes]) -> None:
    buffer = Buffer()
    decoder = ChunkDecoder(buffer)
    for piece in pieces:
        buffer.feed(piece)
        while decoder.next_piece() is not None:
            pass


def messages(role: Role) -> Reader:
    def read(pieces: list[bytes]) -> None:
        reader = MessageReader(role)
        for piece in pieces:
            reader.receive_data(piece)
            while not isinstance(part := reader.next_event(), (Signal, ConnectionClosed)):
                if isinstance(part, MessageEnd):
                    reader.start_next()

    return read


def event_stream(role: Role) -> Reader:
    def read(pieces: list[bytes]) -> None:
        decoder = EventStreamDecoder(role)
        for piece in [*pieces, b""]:
            decoder.feed(piece)
            while not isinstance(decoder.next_message(), Signal):
                pass

    return read


def stream_to_a_caller(pieces: list[bytes]) -> None:
    connection = InvokeConnection(host="h")
    connection.send(InvokeAsked(function_name="f", streaming=True))
    try:
        for piece in [b"HTTP/1.1 200 OK\r\n\r\n", *pieces, b""]:
            connection.receive_data(piece)
            while not isinstance(connection.next_event(), (Signal, ConnectionClosed)):
                pass
    except RemoteProtocolError as fault:
        if isinstance(fault.__cause__, Malformed):
            raise fault.__cause__ from None
        raise


def prelude_of(pieces: list[bytes]) -> None:
    decoder = PreludeDecoder()
    for piece in pieces:
        decoder.feed(piece)
        decoder.next_prelude()
    decoder.end()


def answer(ask: type, status: int, *headers: tuple[str, str]) -> Reader:
    return lambda _: decode_answer(ask, status, headers, b"")


def target(text: str) -> Reader:
    return lambda _: match("GET", text)


def event(name: str, value: str = "x", payload: bytes = b"") -> bytes:
    return encode_event_stream(
        EventStreamMessage(headers=(EventStreamHeader(name=name, value=value),), payload=payload)
    )


REQUESTS, ANSWERS = messages(Role.SERVER), messages(Role.CLIENT)
EMPTY = encode_event_stream(EventStreamMessage())
COMPLETE = event(":event-type", "InvokeComplete")
HOST = b"GET / HTTP/1.1\r\nHost: x\r\n"

#: The rule, who reads, and what breaks it.
BROKEN: list[tuple[str, Reader, bytes]] = [
    ("RS-CHUNK-1", chunks, b"5\r\nhello\r\nZZ\r\n"),
    ("RS-CHUNK-1", chunks, b"5\nhello"),
    ("RS-CHUNK-1", chunks, b"5\r\nhello!\r\n"),
    ("LI-CHUNK-1", chunks, b"5;" + b"x" * 5000),
    ("LI-CHUNK-2", chunks, b"0" * 17 + b"\r\n"),
    ("RS-CHUNK-1", chunks, b"z" * 17 + b"\r\n"),
    ("LI-CHUNK-3", chunks, (b"1;" + b"x" * 3000 + b"\r\nx\r\n") * 6),
    ("RS-TRAILER-1", chunks, b"0\r\nnothing\r\n\r\n"),
    ("RS-TRAILER-1", chunks, b"0\r\na b: c\r\n\r\n"),
    ("RS-TRAILER-1", chunks, b"0\r\na: \x01\r\n\r\n"),
    ("LI-TRAILER-1", chunks, b"0\r\na: " + b"x" * 5000),
    ("RT-CONN-16", REQUESTS, b" GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("RT-CONN-16", REQUESTS, b"GARBAGE\r\n\r\n"),
    ("RT-CONN-16", REQUESTS, HOST + b"a: \x01\r\n\r\n"),
    ("RT-CONN-16", REQUESTS, HOST + b"Host : x\r\n\r\n"),
    ("RT-CONN-16", ANSWERS, b"HTTP/1.1 OK\r\n\r\n"),
    ("RT-CONN-2", REQUESTS, b"GET / HTTP/1.1\r\n\r\n"),
    ("RT-CONN-20", REQUESTS, HOST + b"Expect: 200\r\n\r\n"),
    ("RT-CONN-21", REQUESTS, HOST + b"Transfer-Encoding: gzip\r\n\r\n"),
    ("RT-CONN-2", REQUESTS, HOST + b"Host: x\r\n\r\n"),
    ("RT-CONN-11", ANSWERS, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("LI-HEAD-2", REQUESTS, HOST + b"Content-Length: 9223372036854775808\r\n\r\n"),
    ("LI-HEAD-2", REQUESTS, HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n"),
    ("RT-CONN-15", REQUESTS, b"PRI * HTTP/2.0\r\n\r\n"),
    ("RT-CONN-15", ANSWERS, b"HTTP/2.0 200 OK\r\n\r\n"),
    ("LI-HEAD-1", REQUESTS, HOST + b"a: " + b"x" * (1 << 20)),
    ("RS-TRAILER-14", REQUESTS, HOST + b"Transfer-Encoding: chunked\r\nTrailer: content-length\r\n\r\n"),
    ("RS-CHUNK-1", REQUESTS, HOST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"),
    ("RT-PATH-4", target("here"), b""),
    ("RT-PATH-5", target("/%2"), b""),
    ("RT-NEXT-4", answer(NextAsked, 204), b""),
    ("RT-NEXT-5", answer(NextAsked, 200), b""),
    ("RT-RESTORE-3", answer(RestoreAsked, 200, ("lambda-runtime-aws-request-id", "x")), b""),
    ("ES-CRC-2", event_stream(Role.CLIENT), b"\0" * 12),
    ("ES-CRC-3", event_stream(Role.CLIENT), EMPTY[:-1] + b"x"),
    ("ES-FRAME-6", event_stream(Role.CLIENT), prelude(15, 0)),
    ("ES-FRAME-7", event_stream(Role.CLIENT), prelude(16, 1)),
    ("ES-FRAME-11", event_stream(Role.CLIENT), EMPTY[:-1]),
    ("ES-LIMIT-1", event_stream(Role.SERVER), prelude(25 << 20, 0)),
    ("ES-LIMIT-2", event_stream(Role.SERVER), prelude(25 << 20, 1 << 20)),
    ("ES-LIMIT-6", event_stream(Role.SERVER), framed(b"".join(b"\x04%04d\x00" % n for n in range(1025)))),
    ("ES-HEADER-2", event_stream(Role.CLIENT), framed(b"\x00\x00")),
    ("ES-HEADER-4", event_stream(Role.CLIENT), framed(b"\x01a\x00" * 2)),
    ("ES-HEADER-7", event_stream(Role.CLIENT), framed(b"\x01a\x0a")),
    ("ES-HEADER-11", event_stream(Role.CLIENT), framed(b"\x01a\x07\x80\x00" + b"x" * 32768)),
    ("ES-HEADER-14", event_stream(Role.CLIENT), framed(b"\x01\xff\x00")),
    ("ES-HEADER-15", event_stream(Role.CLIENT), framed(b"\x02a")),
    ("ES-MESSAGE-12", stream_to_a_caller, b""),
    ("ES-MESSAGE-14", stream_to_a_caller, COMPLETE * 2),
    ("ES-MESSAGE-31", stream_to_a_caller, event(":message-type", "news")),
    ("FU-PRELUDE-3", prelude_of, b'{"statusCode":200}'),
    ("FU-PRELUDE-3", prelude_of, b"[]" + DELIMITER),
    ("FU-PRELUDE-8", prelude_of, b'{"cookies":["\\udcff"]}' + DELIMITER),
    ("FU-PRELUDE-12", prelude_of, b"{" + b" " * (16 << 10)),
    ("FU-PRELUDE-20", prelude_of, b'{"statusCode":700}' + DELIMITER),
    ("FU-PRELUDE-24", prelude_of, b'{"headers":[]}' + DELIMITER),
    ("FU-PRELUDE-24", prelude_of, b'{"headers":{"a":[{}]}}' + DELIMITER),
    ("FU-PRELUDE-26", prelude_of, b'{"headers":{"a b":""}}' + DELIMITER),
    ("FU-PRELUDE-26", prelude_of, b'{"headers":{"a":"\\n"}}' + DELIMITER),
    ("FU-PRELUDE-30", prelude_of, b'{"cookies":{}}' + DELIMITER),
]


@pytest.mark.parametrize(("rule", "read", "data"), BROKEN, ids=[f"{it[0]}-{n}" for n, it in enumerate(BROKEN)])
def test_a_fault_names_the_rule_that_is_broken(rule: str, read: Reader, data: bytes) -> None:
    """However the bytes are delivered, where that can matter."""
    for pieces in deliveries(data, seed=7) if len(data) < 100_000 else [[data]]:
        with pytest.raises(Malformed) as caught:
            read(pieces)
        assert caught.value.rule == rule


def named_in(source: str) -> set[str]:
    """Return the ids that stand alone in a string."""
    strings = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return {text for text in strings if isinstance(text, str) and RULE.fullmatch(text)}


def test_every_rule_that_is_named_exists() -> None:
    """In the core and in the programs; and what the core names is tried above."""
    known = {rule.name for rule in of_disk().rules() if not rule.withdrawn}
    named = {path: named_in(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    assert {rule: path.name for path, rules in named.items() for rule in rules - known} == {}
    core = [rules for path, rules in named.items() if path.name.startswith("_") and path.parent == PACKAGE]
    assert {rule for rules in core for rule in rules} == {rule for rule, _, _ in BROKEN}


def test_a_rule_that_does_not_exist_would_be_found() -> None:
    """The search sees what a raise names, and not what a comment or a docstring mentions."""
    assert named_in('raise Malformed("no", rule="XX-NONE-1")  # YY-NONE-2') == {"XX-NONE-1"}
    assert named_in('"""As RT-NEXT-5 says."""') == set()

"""HTTP/1.1: heads as h11 reads them, bodies as we frame them, and everything beyond as Go's net/http has it.

What the service's own HTTP server does was observed with the emulator of aws-sam-cli 1.170.0, 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzz.fuzz_http11 import MAX_HEAD, one_input, pull, read
from lambda_wire._chunked import MAX_PIECE
from lambda_wire._events import ConnectionClosed
from lambda_wire._heads import field_value
from lambda_wire._http11 import MessageReader
from lambda_wire._malformed import Malformed
from lambda_wire._messages import (
    HttpEvent,
    MalformedMessage,
    MessageEnd,
    PlainAnswer,
    RequestHead,
    ResponseHead,
    TruncatedMessage,
)
from lambda_wire._record import record
from lambda_wire._signals import NEED_DATA, PAUSED, Role
from lambda_wire._types import Headers
from lambda_wire.testing import deliveries

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
END = MessageEnd()
CLOSED = ConnectionClosed()


def events_of(wire: bytes, role: Role = Role.SERVER, *, method: str = "GET") -> list[HttpEvent]:
    """Return what every delivery of ``wire`` and its end give, bodies joined."""
    readings: list[list[HttpEvent]] = []
    for pieces in deliveries(wire):
        reader = MessageReader(role)
        reader.expect(method)
        events: list[HttpEvent] = []
        for data in (*pieces, b""):
            reader.receive_data(data)
            for event in pull(reader):
                if isinstance(event, bytes) and isinstance(events[-1], bytes):
                    events[-1] += event
                else:
                    events.append(event)
        readings.append(events)
    assert all(reading == readings[0] for reading in readings)
    return readings[0]


def request_of(wire: bytes) -> RequestHead:
    """Return the head of the first request in ``wire``."""
    head = events_of(wire)[0]
    assert isinstance(head, RequestHead)
    return head


def response_of(wire: bytes, *, method: str = "GET") -> ResponseHead:
    """Return the head of the first response in ``wire``."""
    head = events_of(wire, Role.CLIENT, method=method)[0]
    assert isinstance(head, ResponseHead)
    return head


def fault_of(wire: bytes, role: Role = Role.SERVER) -> tuple[str, int | None, int]:
    """Return the fault that every delivery of ``wire`` meets: reason, offset, status."""
    verdicts = [read(pieces, role)[1] for pieces in deliveries(wire)]
    assert all(verdict == verdicts[0] for verdict in verdicts)
    assert verdicts[0] is not None
    return verdicts[0]


class TestRequests:
    """One head, its body, its end; then the next one, when it is asked for."""

    def test_without_a_body(self) -> None:
        """Names in lower case, values stripped and in order, no byte of a value lost (RT-CONN-7)."""
        wire = b"GET /a?b HTTP/1.1\r\nHost:x\r\nA: \t 1 2 \r\na:\xc3\xa9\xff\r\n\r\n"
        headers = (("host", "x"), ("a", "1 2"), ("a", "é\udcff"))
        head = RequestHead(method="GET", target="/a?b", headers=headers, keep_alive=True)
        assert events_of(wire) == [head, END, CLOSED]

    @pytest.mark.parametrize(
        ("fields", "body", "content", "end"),
        [
            (b"Content-Length: 3\r\n", b"abc", b"abc", END),
            (b"Content-Length: 003\r\nContent-Length: 003\r\n", b"abc", b"abc", END),
            (b"Content-Length: 0\r\n", b"", b"", END),
            (b"", b"", b"", END),
            (CHUNKED, b"1\r\na\r\n2;x\r\nbc\r\n0\r\n\r\n", b"abc", END),
            (CHUNKED, b"0\r\n\r\n", b"", END),
            (CHUNKED, b"3\r\nabc\r\n0\r\nT: v\r\n\r\n", b"abc", MessageEnd(trailers=(("t", "v"),))),
            (b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"abc", END),
        ],
    )
    def test_bodies(self, fields: bytes, body: bytes, content: bytes, end: MessageEnd) -> None:
        """RFC 9112, 6.3: chunked before counted, nothing where nothing is said. What follows is the next request."""
        events = events_of(POST + fields + b"\r\n" + body + GET)
        assert events[1:-3] == ([content, end] if content else [end])
        assert events[-3:] == [request_of(GET), END, CLOSED]

    @pytest.mark.parametrize("length", [b"2", b"99"])
    def test_framed_twice(self, length: bytes) -> None:
        """RFC 9112, 6.1: it is chunked, and the last on its connection (RT-CONN-10)."""
        framing = CHUNKED + b"Content-Length: %b\r\n\r\n" % length
        head, *rest = events_of(POST + framing + b"3\r\nabc\r\n0\r\n\r\n")
        assert isinstance(head, RequestHead)
        assert (head.keep_alive, rest) == (False, [b"abc", END, CLOSED])

    def test_http_1_0(self) -> None:
        """Needs no Host; its Transfer-Encoding is not looked at, as Go has it (observed)."""
        wire = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n5\n"
        head, body, *rest = events_of(wire)
        assert isinstance(head, RequestHead)
        assert (head.http_version, head.keep_alive, body, rest) == ("1.0", False, b"5\n", [END, CLOSED])

    @pytest.mark.parametrize(("field", "kept"), [(b"", True), (CHUNKED, False)])
    def test_http_1_0_that_is_kept(self, field: bytes, kept: bool) -> None:
        """Not behind a Transfer-Encoding: RFC 9112, 6.1 wants it closed (RT-CONN-14)."""
        head = events_of(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + field + b"\r\n")[0]
        assert isinstance(head, RequestHead)
        assert head.keep_alive is kept

    @pytest.mark.parametrize(
        ("version", "connection", "kept"),
        [
            ("1.1", "", True),
            ("1.1", "Connection: x, Close\r\n", False),
            ("1.1", "Connection: x\r\nConnection: close\r\n", False),
            ("1.1", "Connection: x close\r\n", False),
            ("1.1", "Connection: closed\r\n", True),
            ("1.2", "", True),
            ("1.0", "", False),
            ("1.0", "Connection: Keep-Alive\r\n", True),
            ("1.0", "Connection: keep-alive, close\r\n", True),  # as observed, against RFC 9112, 9.3
        ],
    )
    def test_keep_alive(self, version: str, connection: str, kept: bool) -> None:
        """RFC 9112, 9.3: persistent unless said otherwise; HTTP/1.0 only if it is said."""
        for role, line in (
            (Role.SERVER, f"GET / HTTP/{version}\r\nHost: a\r\n"),
            (Role.CLIENT, f"HTTP/{version} 204\r\n"),
        ):
            head = events_of(f"{line}{connection}\r\n".encode(), role)[0]
            assert isinstance(head, (RequestHead, ResponseHead))
            assert head.keep_alive is kept

    @pytest.mark.parametrize(
        ("head", "expects"),
        [
            (POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", True),
            (POST + b"Content-Length: 2\r\nExpect: x, 100-Continue\r\n\r\n{}", True),
            (POST + CHUNKED + b"Expect: 100-continue\r\n\r\n0\r\n\r\n", True),
            (POST + CHUNKED + b"Expect: 100-continue x\r\n\r\n0\r\n\r\n", True),
            (POST + CHUNKED + b"Expect: 100-continue\r\nExpect: x\r\n\r\n0\r\n\r\n", True),
            (POST + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n", False),
            (POST + b"Expect: 100-continue\r\n\r\n", False),
            (b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", False),
        ],
    )
    def test_expect(self, head: bytes, expects: bool) -> None:
        """RFC 9110, 10.1.1: not in HTTP/1.0, and not where no body comes."""
        assert request_of(head).expects_continue is expects

    def test_the_longest_body_that_can_be_announced(self) -> None:
        """Is read like any other (LI-HEAD-2)."""
        reader = MessageReader(Role.SERVER)
        reader.receive_data(POST + b"Content-Length: 9223372036854775807\r\n\r\n")
        assert isinstance(reader.next_event(), RequestHead)
        assert reader.left == 2**63 - 1

    def test_pipelined(self) -> None:
        """The next request waits; it is not read before its turn."""
        reader = MessageReader(Role.SERVER)
        reader.receive_data(POST + b"Content-Length: 1\r\n\r\nx" + GET)
        assert [reader.next_event() for _ in range(5)] == [
            request_of(POST + b"Content-Length: 1\r\n\r\nx"),
            b"x",
            END,
            PAUSED,
            PAUSED,
        ]
        reader.start_next()
        assert [reader.next_event() for _ in range(3)] == [request_of(GET), END, NEED_DATA]

    def test_bare_line_feeds(self) -> None:
        """Go takes them in heads, so do we; the first empty line ends the head, whatever it ends in (RT-CONN-17)."""
        assert request_of(b"GET / HTTP/1.1\nHost: a\n\n") == request_of(GET)
        assert request_of(b"GET / HTTP/1.1\r\nHost: a\n\r\n") == request_of(GET)
        assert events_of(b"GET / HTTP/1.1\nHost: a\n\n" + GET)[-3] == request_of(GET)

    @pytest.mark.parametrize("blanks", [b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\n\n\n\n"])
    def test_blank_lines_after_a_post(self, blanks: bytes) -> None:
        """Go forgives old clients four bytes of CR and LF, but only after a POST (observed)."""
        post = POST + b"Content-Length: 1\r\n\r\nx"
        assert events_of(post + blanks + GET)[-3:] == [request_of(GET), END, CLOSED]
        assert events_of(post + blanks)[-2:] == [END, CLOSED]
        for wire in (blanks + GET, GET + blanks + GET, post + blanks + GET[:-2] + b"\r\n" + blanks + GET):
            assert fault_of(wire)[0].startswith("expected the first line")

    def test_no_more_than_four_blanks(self) -> None:
        """The fifth is a fault, at its own offset."""
        wire = POST + b"\r\n" + b"\r\n\r\n\n"
        assert fault_of(wire)[1:] == (len(wire) - 1, 400)


class TestResponses:
    """Final responses, framed by the method that they answer."""

    @pytest.mark.parametrize(
        ("wire", "method", "content", "kept"),
        [
            (OK + b"Content-Length: 2\r\n\r\n{}", "GET", [b"{}"], True),
            (OK + b"Content-Length: 2\r\n\r\n", "HEAD", [], True),
            (OK + CHUNKED + b"\r\n", "HEAD", [], True),
            (OK + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n", "POST", [b"{}"], True),
            (OK + b"\r\n{}", "GET", [b"{}"], False),
            (OK + b"\r\n", "GET", [], False),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n{}", "GET", [b"{}"], False),
            (b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n0\r\n\r\n", "GET", [b"0\r\n\r\n"], False),
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "POST", [], True),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "GET", [], True),
            (b"HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n", "POST", [], True),
        ],
    )
    def test_framing(self, wire: bytes, method: str, content: list[bytes], kept: bool) -> None:
        """RFC 9112, 6.3: no body to HEAD, 204 and 304; up to the end of the connection where nothing is said.

        HTTP/1.0 says nothing by a Transfer-Encoding, in a response as in a request (RFC 9112, 6.1).
        """
        head, *rest = events_of(wire, Role.CLIENT, method=method)
        assert isinstance(head, ResponseHead)
        assert (head.keep_alive, rest) == (kept, [*content, END, CLOSED])

    def test_says_how_far_it_read(self) -> None:
        """Who explains bytes learns where each part ends, and how much of a body or of a chunk is to come."""
        for fields, body in ((b"Content-Length: 5\r\n", b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")):
            reader = MessageReader(Role.CLIENT, keep_boundaries=True)
            reader.receive_data(OK + fields + b"\r\n" + body[:-3])
            assert isinstance(reader.next_event(), ResponseHead)
            assert (reader.unread, reader.left) == (len(body) - 3, 5 if body == b"hello" else 0)
        reader = MessageReader(Role.CLIENT, keep_boundaries=True)
        assert (reader.unread, reader.left) == (0, 0)
        reader.receive_data(OK + CHUNKED + b"\r\n5\r\nhe")
        assert isinstance(reader.next_event(), ResponseHead)
        assert reader.next_event() is NEED_DATA
        assert (reader.unread, reader.left) == (2, 5)

    def test_interim_responses(self) -> None:
        """Any server may send any number of them (RFC 9110, 15.2): none is an event, none is kept."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"
        final = OK + b"Content-Length: 0\r\n\r\n"
        assert events_of(interim * 3 + final, Role.CLIENT) == events_of(final, Role.CLIENT)
        assert events_of(interim, Role.CLIENT) == [CLOSED]
        reader = MessageReader(Role.CLIENT)
        reader.receive_data(interim * 2000)
        assert reader.next_event() is NEED_DATA
        assert not reader.in_message

    def test_no_change_of_protocol(self) -> None:
        """Nobody asked for one."""
        said, *_ = fault_of(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Role.CLIENT)
        assert "expected no switch of protocols" in said

    def test_control_characters_read_as_blanks(self) -> None:
        """The emulator copies a caller's client context raw: no caller may end a runtime with it (observed)."""
        raw = bytes(range(1, 32)).replace(b"\n", b"").replace(b"\r", b"").replace(b"\t", b"")
        head = response_of(OK + b"Content-Length: 0\r\nC: a\x00b" + raw + b"\x7f\tc\r\n\r\n")
        assert field_value(head.headers, "c") == "a b" + " " * (len(raw) + 1) + "\tc"


class TestPieces:
    """Bodies in pieces of the message's making, or as they come."""

    @pytest.mark.parametrize("fields", [b"Content-Length: 150000\r\n", CHUNKED])
    def test_large_bodies_with_boundaries(self, fields: bytes) -> None:
        """Pieces of ``MAX_PIECE``, however they are delivered."""
        body = bytes(range(250)) * 600
        framed = body if b"Length" in fields else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        wire = POST + fields + b"\r\n" + framed
        for size in (len(wire), 1000, MAX_PIECE, 70_001):
            reader = MessageReader(Role.SERVER, keep_boundaries=True)
            pieces: list[HttpEvent] = []
            for at in range(0, len(wire), size):
                reader.receive_data(memoryview(wire)[at : at + size])
                pieces += pull(reader)
            assert pieces[1:] == [body[:MAX_PIECE], body[MAX_PIECE : 2 * MAX_PIECE], body[2 * MAX_PIECE :], END]

    def test_chunks_keep_their_boundaries(self) -> None:
        """One piece a chunk."""
        reader = MessageReader(Role.SERVER, keep_boundaries=True)
        reader.receive_data(POST + CHUNKED + b"\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")
        assert list(pull(reader))[1:] == [b"a", b"bc", END]

    def test_plain_chunks_are_taken_together(self) -> None:
        """As many as are here and whole, with word of whether all else needs more bytes; the rest comes as ever."""
        reader = MessageReader(Role.SERVER, keep_boundaries=True)
        assert reader.take_pieces(99) == ((), False)
        reader.receive_data(POST + CHUNKED + b"\r\n")
        assert isinstance(reader.next_event(), RequestHead)
        reader.receive_data(b"1\r\na\r\n2\r\nbc\r\n3\r\nd")
        assert reader.take_pieces(16) == ((), False)
        assert reader.take_pieces(17) == ([b"a", b"bc"], True)
        assert reader.next_event() is NEED_DATA
        reader.receive_data(b"ef\r\n0\r\n\r\n")
        assert reader.take_pieces(99) == ([b"def"], False)
        assert list(pull(reader)) == [END]
        assert reader.take_pieces(99) == ((), False)

    @pytest.mark.parametrize(("fields", "data"), [(b"Content-Length: 9\r\n", b"ab"), (b"Content-Length: 0\r\n", b"")])
    def test_only_chunks_are_taken_together(self, fields: bytes, data: bytes) -> None:
        """What is counted has no boundaries."""
        reader = MessageReader(Role.SERVER, keep_boundaries=True)
        reader.receive_data(POST + fields + b"\r\n" + data)
        assert isinstance(reader.next_event(), RequestHead)
        assert reader.take_pieces(99) == ((), False)

    def test_nothing_is_taken_together_at_the_end(self) -> None:
        """Whoever is told that more bytes are needed would wait for ever."""
        reader = MessageReader(Role.SERVER, keep_boundaries=True)
        reader.receive_data(POST + CHUNKED + b"\r\n1\r\na\r\n2\r\nb")
        assert isinstance(reader.next_event(), RequestHead)
        reader.receive_data(b"")
        assert reader.take_pieces(99) == ((), False)
        assert reader.next_event() == b"a"
        with pytest.raises(MalformedMessage, match="the connection ended in the middle"):
            reader.next_event()

    def test_nothing_is_taken_together_after_a_fault(self) -> None:
        """It is for ever."""
        reader = MessageReader(Role.SERVER, keep_boundaries=True)
        reader.receive_data(POST + CHUNKED + b"\r\n1\r\naX\n1\r\nb\r\n")
        assert isinstance(reader.next_event(), RequestHead)
        assert reader.take_pieces(99) == ([], False)
        assert reader.next_event() == b"a"
        for _ in range(2):
            with pytest.raises(MalformedMessage):
                reader.next_event()
            assert reader.take_pieces(99) == ((), False)

    def test_without_boundaries_nothing_is_held_back(self) -> None:
        """Bytes are given as soon as they are there."""
        reader = MessageReader(Role.SERVER)
        for fields, data in ((b"Content-Length: 9\r\n", b"ab"), (CHUNKED, b"9\r\nab")):
            reader = MessageReader(Role.SERVER)
            reader.receive_data(POST + fields + b"\r\n" + data)
            assert list(pull(reader))[1:] == [b"ab"]

    def test_where_it_is(self) -> None:
        """In a message from its first byte to its last; in a body between the two."""
        reader = MessageReader(Role.SERVER)
        seen: list[tuple[bool, bool]] = []
        for data in (b"", b"P", POST[1:] + b"Content-Length: 1\r\n\r\n", b"x"):
            if data:
                reader.receive_data(data)
            list(pull(reader))
            seen.append((reader.in_message, reader.in_body))
        assert seen == [(False, False), (True, False), (True, True), (False, False)]


LARGE = 65_536
"""From how many announced bytes on a driver may receive for itself."""
UNLIMITED = 1 << 70
PATTERN = bytes(range(251)) * 1600
SIZES = st.lists(st.sampled_from([1, 2, 10, 500, 16_384, 65_536, 100_000]), min_size=1, max_size=5)

#: Events but for the body and its end; then those, or what is wrong: kind, reason, offset.
Collected = tuple[list[HttpEvent], MessageEnd | tuple[type, str, int | None] | None]


def feed(reader: MessageReader, wire: bytes, sizes: Iterable[int], there: Iterable[bool]) -> Iterator[int]:
    """Deliver ``wire`` in pieces, received where they belong or given; yield how much has come after each."""
    at, turns = 0, zip(cycle(sizes), cycle(there))
    for step, (size, received) in enumerate(turns):
        if at >= len(wire):
            return
        into = reader.receive_buffer if received else None
        count = max(size, 2000 if step > 150 else 1)
        data: bytes | memoryview = wire[at : at + count]
        if into is not None:
            count = min(len(data), len(into))
            into[:count] = data[:count]
            data = into[:count]
        at += len(data)
        reader.receive_data(data)
        yield at


def collect(
    wire: bytes, sizes: Iterable[int], there: Iterable[bool], *, limit: int = UNLIMITED, ends: bool = True
) -> tuple[Collected, int]:
    """Return the first response in ``wire``, its body collected, and how many bytes had come by then."""
    reader = MessageReader(Role.CLIENT)
    heads: list[HttpEvent] = []
    at = 0
    try:
        for at in feed(reader, wire, sizes, there):
            if (end := _take_collected(reader, heads, limit)) is not None:
                return (heads, end), at
        if ends:
            reader.receive_data(b"")
            return (heads, _take_collected(reader, heads, limit)), at
    except Malformed as fault:
        found = fault
    else:
        return (heads, None), at
    with pytest.raises(Malformed) as again:
        reader.next_event()
    assert again.value is found
    assert reader.receive_buffer is None
    return (heads, (type(found), found.reason, found.at)), at


def _take_collected(reader: MessageReader, heads: list[HttpEvent], limit: int) -> MessageEnd | None:
    while (event := reader.next_event()) is not NEED_DATA:
        assert isinstance(event, (ResponseHead, MessageEnd, ConnectionClosed))
        if isinstance(event, MessageEnd):
            assert type(event.body) is bytes
            assert reader.receive_buffer is None
            return event
        heads.append(event)
        if isinstance(event, ConnectionClosed):
            break
        reader.collect(limit, "an answer")
    return None


def in_parts(wire: bytes) -> Collected:
    """Return the same, read part by part."""
    reader = MessageReader(Role.CLIENT)
    heads: list[HttpEvent] = []
    body = b""
    try:
        for data in (wire, b"") if wire else (b"",):
            reader.receive_data(data)
            while isinstance(event := reader.next_event(), (ResponseHead, bytes, MessageEnd)):
                match event:
                    case ResponseHead():
                        heads.append(event)
                    case bytes():
                        body += event
                    case MessageEnd():
                        return heads, MessageEnd(trailers=event.trailers, body=body)
            if isinstance(event, ConnectionClosed):
                heads.append(event)
    except MalformedMessage as fault:
        return heads, (type(fault), fault.reason, fault.at)
    return heads, None


def chunks_of(body: bytes, sizes: list[int], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """Return ``body`` in chunks of these sizes again and again; of one when there are none."""
    wire, at = bytearray(OK + CHUNKED + b"\r\n"), 0
    for size in cycle(sizes or [len(body)]):
        if at >= len(body):
            return bytes(wire + b"0\r\n" + trailers + b"\r\n")
        data = body[at : at + size]
        wire += b"%X%b\r\n%b\r\n" % (len(data), extension, data)
        at += size
    raise AssertionError("a cycle has no end")


@st.composite
def framed(draw: st.DrawFn) -> bytes:
    """Return a response with a body of some size, small or large, framed in some way."""
    size = draw(st.one_of(st.integers(0, 200), st.integers(LARGE - 3, LARGE + 300), st.integers(0, 300_000)))
    body = PATTERN[:size]
    match draw(st.sampled_from(["counted", "chunk", "chunks", "until close"])):
        case "counted":
            return OK + b"Content-Length: %d\r\n\r\n%b" % (size, body) + draw(st.sampled_from([b"", OK, b"x"]))
        case "chunk":
            return chunks_of(body, [], b";a=b", b"T: v\r\nU: w\r\n")
        case "chunks":
            sizes = draw(st.lists(st.sampled_from([300, 5000, 40_000, 66_000, 150_000]), min_size=1, max_size=4))
            return chunks_of(
                body, sizes, draw(st.sampled_from([b"", b"; x"])), draw(st.sampled_from([b"", b"T: v\r\n"]))
            )
        case _:
            return OK + b"\r\n" + body


class TestCollected:
    """A body that is wanted whole is what its pieces would have been, however it comes."""

    @settings(max_examples=80)
    @given(wire=framed(), sizes=SIZES, there=st.lists(st.booleans(), min_size=1, max_size=5))
    def test_as_part_by_part(self, wire: bytes, sizes: list[int], there: list[bool]) -> None:
        """Received where it belongs, given, or by turns; trailers and what comes after it too."""
        collected, _ = collect(wire, sizes, there)
        assert collected == in_parts(wire)
        assert isinstance(collected[1], MessageEnd)

    @settings(max_examples=80)
    @given(
        wire=framed(),
        sizes=SIZES,
        there=st.lists(st.booleans(), min_size=1, max_size=5),
        cut=st.floats(0, 1),
        put=st.sampled_from([b"", b"\n", b"\r\n", b"g", b"\0", b"9"]),
        rest=st.booleans(),
    )
    def test_faults_are_the_same(
        self, wire: bytes, sizes: list[int], there: list[bool], cut: float, put: bytes, rest: bool
    ) -> None:
        """In the same words, at the same byte; so is an end that comes too early."""
        at = int(cut * len(wire))
        broken = wire[:at] + put + (wire[at + len(put) :] if rest else b"")
        assert collect(broken, sizes, there)[0] == in_parts(broken)

    @pytest.mark.parametrize("there", [[True], [False], [True, False]])
    @pytest.mark.parametrize("sizes", [[1000], [70_000], [10**6], [LARGE]])
    def test_faults_behind_what_was_received_elsewhere(self, sizes: list[int], there: list[bool]) -> None:
        """It counts."""
        head, counted = OK + CHUNKED + b"\r\n", OK + b"Content-Length: 200001\r\n\r\n"
        data = b"30d40\r\n" + PATTERN[:200_000]
        for wire, reason, at in (
            (head + data + b"xx", "a chunk's data must be followed by", len(head + data)),
            (head + data + b"\r\nx\r\n", "a chunk's size must be", len(head + data) + 2),
            (head + data[:-1], "the connection ended in the middle of a chunked body", len(head + data) - 1),
            (counted + PATTERN[:200_000], "the connection ended in the middle of a counted", len(counted) + 200_000),
        ):  # fmt: skip
            (_, fault), _ = collect(wire, sizes, there)
            assert isinstance(fault, tuple)
            assert fault[1].startswith(reason)
            assert fault[2] == at
            assert fault[0] is (TruncatedMessage if "ended" in reason else MalformedMessage)

    @pytest.mark.parametrize("there", [[True], [False], [True, False]])
    @pytest.mark.parametrize("size", [1, 7, 4096, 70_000])
    @pytest.mark.parametrize(
        ("wire", "refused_at"),
        [
            (OK + b"Content-Length: 100001\r\n\r\n", len(OK) + 26),
            (OK + CHUNKED + b"\r\n186A1\r\n", len(OK + CHUNKED) + 9),
            (OK + CHUNKED + b"\r\nffffffffffffffff;x\r\n", len(OK + CHUNKED) + 22),
            (OK + CHUNKED + b"\r\n186A0\r\n" + PATTERN[:100_000] + b"\r\n1\r\n", len(OK + CHUNKED) + 100_014),
            (OK + b"\r\n" + PATTERN[:100_001], len(OK) + 100_003),
        ],
    )
    def test_too_large(self, wire: bytes, refused_at: int, size: int, there: list[bool]) -> None:
        """Refused as soon as it is known, before a byte of what is announced; always in the same words."""
        too_large = (Malformed, "expected an answer of at most 100000 bytes, got more", None)
        coarse = [len(wire) - 100] if len(wire) > 50_000 and size < 10 else []
        for more in (b"", b"x" * 50, PATTERN[:100_000]):
            sizes = [*coarse, *[size] * 10_000]
            (heads, fault), at = collect(wire + more, sizes, there, limit=100_000, ends=False)
            assert (fault, len(heads)) == (too_large, 1)
            if size == 1:
                assert at == refused_at
            assert collect(wire + more, sizes, there, limit=100_001 + (1 << 65))[0][1] != too_large

    @pytest.mark.parametrize("there", [[True], [False]])
    def test_of_the_limit(self, there: list[bool]) -> None:
        """The largest body is taken, in every framing."""
        body = PATTERN[:100_000]
        for wire in (
            OK + b"Content-Length: 100000\r\n\r\n" + body,
            chunks_of(body, []),
            chunks_of(body, [999]),
            OK + b"\r\n" + body,
        ):
            assert collect(wire, [5000], there, limit=100_000)[0][1] == MessageEnd(body=body)

    @pytest.mark.parametrize("fields", [b"Content-Length: 2\r\n", CHUNKED, b""])
    def test_the_end_came_before_it_was_read(self, fields: bytes) -> None:
        """It is whole all the same."""
        reader = MessageReader(Role.CLIENT)
        reader.receive_data(OK + fields + b"\r\n" + (b"2\r\n{}\r\n0\r\n\r\n" if fields == CHUNKED else b"{}"))
        reader.receive_data(b"")
        assert isinstance(reader.next_event(), ResponseHead)
        reader.collect(UNLIMITED, "an answer")
        assert reader.next_event() == MessageEnd(body=b"{}")

    def test_one_message_after_the_other(self) -> None:
        """Collecting is for one message; its body is not changed by the next, nor is it collected unasked."""
        reader = MessageReader(Role.CLIENT)
        bodies: list[bytes] = []
        for fill in (b"a", b"b"):
            reader.receive_data(OK + b"Content-Length: 100000\r\n\r\n" + fill)
            assert isinstance(reader.next_event(), ResponseHead)
            reader.collect(UNLIMITED, "an answer")
            assert reader.next_event() is NEED_DATA
            into = reader.receive_buffer
            assert into is not None
            into[:] = fill * len(into)
            reader.receive_data(into)
            end = reader.next_event()
            assert isinstance(end, MessageEnd)
            bodies.append(end.body)
            reader.start_next()
        assert bodies == [b"a" * 100_000, b"b" * 100_000]
        reader.receive_data(OK + b"Content-Length: 100000\r\n\r\nc")
        assert isinstance(reader.next_event(), ResponseHead)
        assert (reader.next_event(), reader.receive_buffer) == (b"c", None)

    def test_more_than_belongs_there(self) -> None:
        """What is given beyond a body that could have been received belongs to the next message."""
        reader = MessageReader(Role.CLIENT)
        reader.receive_data(OK + b"Content-Length: 100000\r\n\r\na")
        assert isinstance(reader.next_event(), ResponseHead)
        reader.collect(UNLIMITED, "an answer")
        assert reader.next_event() is NEED_DATA
        reader.receive_data(b"b" * 99_999 + OK + b"Content-Length: 0\r\n\r\n")
        assert reader.next_event() == MessageEnd(body=b"a" + b"b" * 99_999)
        assert reader.next_event() is PAUSED
        reader.start_next()
        assert isinstance(reader.next_event(), ResponseHead)

    def test_boundaries_do_not_matter(self) -> None:
        """Nor does it wait for whole pieces."""
        reader = MessageReader(Role.SERVER, keep_boundaries=True)
        for fields, data in ((b"Content-Length: 100000\r\n", b"ab"), (CHUNKED, b"186a0\r\nab")):
            reader = MessageReader(Role.SERVER, keep_boundaries=True)
            reader.receive_data(POST + fields + b"\r\n" + data)
            assert isinstance(reader.next_event(), RequestHead)
            reader.collect(UNLIMITED, "a request")
            assert reader.next_event() is NEED_DATA
            assert reader.receive_buffer is not None
            assert len(reader.receive_buffer) == 99_998


def plain_or_parts(pieces: Iterable[bytes], limit: int, *, plain: bool, method: str) -> list[object]:
    """Return every answer as status, fields and body, and the end; whole when it is plain, if that is asked."""
    reader = MessageReader(Role.CLIENT)
    reader.expect(method)
    answers: list[object] = []
    head, body = ResponseHead(status=0, headers=(), keep_alive=False), b""
    try:
        for data in pieces:
            reader.receive_data(data)
            while True:
                if plain:
                    while (answer := take_plain(reader, limit)) is not None:
                        answers.append((answer, True))
                match reader.next_event():
                    case ResponseHead() as head:
                        body = b""
                    case bytes() as piece:
                        body += piece
                    case MessageEnd():
                        answers.append(((head.status, head.headers, body), head.keep_alive))
                        reader.start_next()
                    case ConnectionClosed() as event:
                        answers.append(event)
                        break
                    case _:
                        break
    except MalformedMessage as fault:
        answers.append((type(fault), fault.reason, fault.at))
        assert reader.take_plain_answer(limit) is None
    return answers


def take_plain(reader: MessageReader, limit: int) -> PlainAnswer | None:
    """Return an answer, having seen that nothing was taken when there is none."""

    def state() -> tuple[bytes, int, bool]:
        return reader._buffer.peek(1 << 20), reader._buffer.taken, reader.in_message

    before = state()
    answer = reader.take_plain_answer(limit)
    if answer is None:
        assert state() == before
        return None
    assert before[0].endswith(answer[2] + reader._buffer.peek(1 << 20))
    assert type(answer[2]) is bytes
    assert len(answer[2]) <= limit
    return answer


STATUS_LINES = (b"HTTP/1.1 200 OK\r\n",) * 4 + (
    b"HTTP/1.1 202 Accepted\r\n", b"HTTP/1.1 204 A\r\n", b"HTTP/1.1 304 A\r\n", b"HTTP/1.1 100 A\r\n",
    b"HTTP/1.1 200\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 500 A\n", b"HTTP/2.0 200 OK\r\n", b" HTTP/1.1 200 A\r\n",
)  # fmt: skip
FIELD_LINES = (
    b"Content-Length: 3\r\n", b"content-length:3 \r\n", b"Content-Length: 0\r\n", b"Content-Length: 30\r\n",
    b"Content-Length: 3\r\nContent-Length: 3\r\n", b"Content-Length: x\r\n", b"Content-Length:\r\n", CHUNKED,
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"A: b\r\n", b"A: \xc3\xa9\xff\r\n", b"A:\tb\r\n",
    b"A: b\r\n c\r\n", b"A: b\n", b"A\r\n", b"A: \0\r\n",
)  # fmt: skip
BODIES = (b"", b"abc", b"abc", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"\r\n\r\n", b"\r\n", b"ab")
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(STATUS_LINES),
        st.lists(st.sampled_from((*FIELD_LINES[:1] * 8, *FIELD_LINES)), max_size=3, unique=True).map(b"".join),
        st.sampled_from([b"\r\n"] * 8 + [b"\n", b""]),
        st.sampled_from(BODIES),
    ).map(b"".join),
    max_size=4,
).map(b"".join)


class TestPlainAnswers:
    """Nearly every answer is there at once, and read whole: to the same as part by part."""

    @settings(max_examples=300)
    @given(wire=ANSWERS, limit=st.sampled_from([0, 2, 3, 100]), method=st.sampled_from(["GET", "GET", "HEAD"]))
    @example(wire=(OK + b"Content-Length: 3\r\n\r\nabc") * 3, limit=3, method="GET")
    @example(wire=(OK + b"Content-Length: 3\r\n\r\nabc") * 3, limit=2, method="GET")
    @example(wire=(OK + b"Content-Length: 3\r\n\r\n") * 3, limit=3, method="HEAD")
    @example(
        wire=b"HTTP/1.1 204 A\r\nContent-Length: 3\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\nabc",
        limit=3,
        method="GET",
    )
    @example(wire=OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", limit=3, method="GET")
    def test_as_part_by_part(self, wire: bytes, limit: int, method: str) -> None:
        """However delivered; and where there is none, nothing was taken."""
        for pieces in deliveries(wire):
            expected = plain_or_parts([*pieces, b""], limit, plain=False, method=method)
            assert plain_or_parts([*pieces, b""], limit, plain=True, method=method) == expected

    def test_whole_or_not_at_all(self) -> None:
        """The last byte of it makes it, if they all come together; what follows is left."""
        wire = OK + b"A: b\r\nContent-Length: 3\r\n\r\nabc"
        for size in range(len(wire)):
            reader = MessageReader(Role.CLIENT)
            reader.receive_data(wire[:size] or b"x")
            assert take_plain(reader, 3) is None
        reader = MessageReader(Role.CLIENT)
        reader.receive_data(wire + b"x")
        assert take_plain(reader, 3) == (200, (("a", "b"), ("content-length", "3")), b"abc")
        assert (reader.in_message, reader.in_body) == (True, False)

    def test_one_after_the_other(self) -> None:
        """Of answers that came together each is whole."""
        reader = MessageReader(Role.CLIENT)
        bodies = [b"abc", b"", b"de"]
        reader.receive_data(b"".join(OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies))
        for body in bodies:
            assert take_plain(reader, 3) == (200, (("content-length", str(len(body))),), body)
        assert take_plain(reader, 3) is None

    def test_not_in_the_middle_of_another(self) -> None:
        """A body may look like an answer, and is none."""
        inner = OK + b"Content-Length: 0\r\n\r\n"
        reader = MessageReader(Role.CLIENT)
        reader.receive_data(OK + b"Content-Length: %d\r\n\r\n" % len(inner))
        assert isinstance(reader.next_event(), ResponseHead)
        reader.receive_data(inner)
        assert take_plain(reader, 99) is None
        assert [reader.next_event(), reader.next_event()] == [inner, END]
        assert take_plain(reader, 99) is None

    @pytest.mark.parametrize("size", [39, 40, 41])
    def test_heads_have_their_limit(self, size: int) -> None:
        """The same as part by part."""
        wire = OK + b"Content-Length: 0\r\n\r\n"
        wire = wire.replace(b"OK", b"OK" + b"x" * (size - len(wire)))
        reader = MessageReader(Role.CLIENT, max_head=40)
        reader.receive_data(wire)
        if size <= 40:
            assert take_plain(reader, 0) == (200, (("content-length", "0"),), b"")
        else:
            assert take_plain(reader, 0) is None
            with pytest.raises(MalformedMessage, match="a head of at most 40 bytes"):
                reader.next_event()

    def test_not_after_the_end(self) -> None:
        """What came before the peer's end is read part by part."""
        reader = MessageReader(Role.CLIENT)
        reader.receive_data(OK + b"Content-Length: 0\r\n\r\n")
        reader.receive_data(b"")
        assert take_plain(reader, 9) is None
        assert isinstance(reader.next_event(), ResponseHead)


class TestFaults:
    """What is no message, what it is answered with, and that it is so for ever."""

    @pytest.mark.parametrize(
        ("wire", "status"),
        [
            (b"\r\n" + GET, 400),
            (b" " + GET, 400),
            (b"\x16\x03\x01", 400),  # TLS
            (b"x\r\n\r\n", 400),
            (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            (b"GET / HTTP/1.0\r\nHost: \xff\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
            (POST + b"Content-Length: x\r\n\r\n", 400),
            (POST + b"Content-Length: +1\r\n\r\n", 400),
            (POST + b"Content-Length:\r\n\r\n", 400),
            (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            (POST + b"Content-Length: 999999999999999999999\r\n\r\n", 400),
            (POST + b"Content-Length: 9223372036854775808\r\n\r\n", 400),
            (POST + CHUNKED + b"Content-Length: x\r\n\r\n", 400),
            (POST + CHUNKED + b"Trailer: A, Content-Length\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
            (POST + CHUNKED + CHUNKED + b"\r\n", 501),
            (POST + b"Expect: x\r\n\r\n", 417),
            (POST + b"Expect: x\r\nExpect: 100-continue\r\n\r\n", 417),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD, 431),
        ],
    )
    def test_heads(self, wire: bytes, status: int) -> None:
        """The status is what the service answers (observed); the offset is that of a line, not of the delivery."""
        reason, at, hint = fault_of(GET + wire)
        assert hint == status
        assert at is not None
        place = at - len(GET)
        if status == 431:
            assert place == MAX_HEAD
        elif place and wire[place] not in b"\x00\x01\x7f":
            assert wire[place - 1 : place] == b"\n"
        assert len(reason) < 200

    def test_a_first_byte_that_begins_nothing(self) -> None:
        """Is refused at once: a blank or a control character is in no first line (RFC 9112, 2.2; RT-CONN-16)."""
        for role in Role:
            for first in range(0x21):
                reader = MessageReader(role)
                reader.receive_data(bytes([first]))
                with pytest.raises(MalformedMessage) as caught:
                    reader.next_event()
                assert caught.value.reason == f"expected the first line of a message, got {bytes([first])!r}"
                assert caught.value.at == 0
            reader = MessageReader(role)
            reader.receive_data(b"!")  # may begin a method
            assert reader.next_event() is NEED_DATA

    def test_a_long_line_is_not_quoted_whole(self) -> None:
        """The fault is for logs and for a refusal's text."""
        reader = MessageReader(Role.SERVER)
        reader.receive_data(b"GET / HTTP/1.1\r\n" + b"\xff" * 500_000 + b"\r\n\r\n")
        with pytest.raises(MalformedMessage) as caught:
            reader.next_event()
        assert len(str(caught.value)) < 200

    def test_a_head_of_the_limit(self) -> None:
        """The limit is on the message, its empty line included, whatever came before it (LI-HEAD-1)."""
        fits = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".ljust(MAX_HEAD - 4, b"x") + b"\r\n\r\n"
        for pieces in deliveries(GET + fits + GET):
            assert read(pieces, Role.SERVER)[1] is None
        assert fault_of(GET + fits.replace(b"Host: a", b"Host: ab"))[1:] == (len(GET) + MAX_HEAD, 431)

    def test_bodies(self) -> None:
        """A fault in the chunks is at its own offset; what came before it is given."""
        wire = POST + CHUNKED + b"\r\n" + b"1\r\na\r\n"
        assert fault_of(wire + b"zz\r\n")[1:] == (len(wire), 400)
        assert read([wire + b"zz\r\n"], Role.SERVER)[0][1:] == [b"a"]

    @pytest.mark.parametrize(
        ("wire", "role"),
        [
            (POST + b"Content-Length: 3\r\n\r\nabc", Role.SERVER),
            (POST + CHUNKED + b"Trailer: t\r\n\r\n3;x\r\nabc\r\n0\r\nt: v\r\n\r\n", Role.SERVER),
            (OK + b"Content-Length: 3\r\n\r\nabc", Role.CLIENT),
            (OK + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n", Role.CLIENT),
        ],
    )
    def test_cut_at_every_byte(self, wire: bytes, role: Role) -> None:
        """An end in the middle is a fault at the last byte, never a message."""
        for cut in range(1, len(wire)):
            assert fault_of(wire[:cut], role)[1:] == (cut, 400)
            assert END not in read([wire[:cut]], role)[0]
        assert read([wire], role)[1] is None

    def test_for_ever(self) -> None:
        """Neither the next bytes nor the rest of the old ones are read: that is how requests are smuggled."""
        reader = MessageReader(Role.SERVER)
        reader.receive_data(b"x\r\n\r\n" + GET)
        for _ in range(3):
            with pytest.raises(MalformedMessage, match="expected a method, a target and a version"):
                reader.next_event()
            reader.receive_data(GET)

    def test_nothing_comes_after_the_end(self) -> None:
        """``b""`` is the end, and nothing after it is read."""
        reader = MessageReader(Role.SERVER)
        reader.receive_data(b"")
        reader.receive_data(GET)
        assert [reader.next_event(), reader.next_event()] == [CLOSED, CLOSED]

    def test_an_end_before_the_next_message_is_read(self) -> None:
        """What is there is still given."""
        reader = MessageReader(Role.SERVER)
        reader.receive_data(GET + GET)
        reader.receive_data(b"")
        assert list(pull(reader)) == [request_of(GET), END, request_of(GET), END, CLOSED]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(lambda text: text.strip(" \t"))
NAMES = st.text("abcdefgh-XYZ", min_size=1, max_size=9).map(lambda name: f"x-{name}")
FIELDS = st.lists(st.tuples(NAMES, TEXTS), max_size=5).map(tuple)


# -- the oracle: the same bytes, read by h11 alone


@record
class Whole:
    """The first message of a connection that then ends; or that there is none, or that h11 would not have it."""

    first_line: tuple[str, ...]
    headers: Headers = ()
    body: bytes = b""
    trailers: Headers = ()
    keep_alive: bool = True


REJECTED = Whole(first_line=("rejected",))
NOTHING = Whole(first_line=("nothing",))


def by_h11(wire: bytes, role: Role) -> Whole:
    """Return what a plain h11 connection makes of ``wire``."""
    connection = h11.Connection(h11.SERVER if role is Role.SERVER else h11.CLIENT, max_incomplete_event_size=1 << 20)
    if role is Role.CLIENT:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    connection.receive_data(b"")
    first_line: tuple[str, ...] = ()
    headers: Headers = ()
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return REJECTED
        match event:
            case h11.Request():
                first_line = (event.method.decode(), event.target.decode(), event.http_version.decode())
                headers = _decoded(event.headers)
            case h11.Response():
                first_line, headers = (str(event.status_code),), _decoded(event.headers)
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                kept = connection.their_state is not h11.MUST_CLOSE and not _ends_with_connection(first_line, headers)
                return Whole(
                    first_line=first_line,
                    headers=headers,
                    body=body,
                    trailers=_decoded(event.headers),
                    keep_alive=kept,
                )
            case h11.ConnectionClosed():
                return NOTHING
            case _:
                assert isinstance(event, h11.InformationalResponse)


def _ends_with_connection(first_line: tuple[str, ...], headers: Headers) -> bool:
    """Say whether only the end of the connection ended this response: h11 keeps that to itself."""
    framed = any(name in ("content-length", "transfer-encoding") for name, _ in headers)
    return len(first_line) == 1 and first_line[0] not in ("204", "304") and not framed


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in headers)


def by_us(wire: bytes, role: Role) -> Whole:
    """Return what our reader makes of ``wire``, however it is delivered, and whatever it is read with."""
    wholes = [_ours(pieces, role, kept) for pieces in deliveries(wire) for kept in (False, True)]
    assert all(whole == wholes[0] for whole in wholes)
    return wholes[0]


def _ours(pieces: list[bytes], role: Role, keep_boundaries: bool) -> Whole:
    """Read as runtimes and callers do; or as the service does, with the pieces that need no judgement together."""
    reader = MessageReader(role, keep_boundaries=keep_boundaries)
    head: HttpEvent | None = None
    body = b""
    for data in (*pieces, b""):
        reader.receive_data(data)
        while True:
            if keep_boundaries:
                body += b"".join(reader.take_pieces(UNLIMITED)[0])
            try:
                event = reader.next_event()
            except MalformedMessage:
                return REJECTED
            match event:
                case RequestHead() | ResponseHead():
                    head = event
                case bytes():
                    body += event
                case MessageEnd():
                    return _whole(head, body, event.trailers)
                case ConnectionClosed():
                    return NOTHING
                case _:
                    break
    raise AssertionError("an end ends the last message too")


def _whole(head: HttpEvent | None, body: bytes, trailers: Headers) -> Whole:
    assert isinstance(head, (RequestHead, ResponseHead))
    if isinstance(head, RequestHead):
        first_line: tuple[str, ...] = head.method, head.target, head.http_version
    else:
        first_line = (str(head.status),)
    return Whole(first_line=first_line, headers=head.headers, body=body, trailers=trailers, keep_alive=head.keep_alive)


def _has(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda wire: compiled.search(wire) is not None


_IN_CHUNKS = rb"transfer-encoding.*?\n\r?\n.*"

#: Every difference from h11: why there is one, what has it, and a message that shows it with what we make of it.
DIFFERENCES: dict[str, tuple[Callable[[bytes], bool], Role, bytes, str]] = {
    "control characters in a request: h11 takes most, Go answers 400 (observed)": (
        _has(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
        Role.SERVER,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        "rejected",
    ),
    "control characters in a response: h11 takes some, we read all as blanks, because the service sends them": (
        _has(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
        Role.CLIENT,
        OK + b"Content-Length: 0\r\nX: a\x00b\r\n\r\n",
        "200",
    ),
    "HTTP/1.0 with Transfer-Encoding: h11 decodes it, Go does not look at it (observed)": (
        _has(rb"HTTP/1\.0.*transfer-encoding"),
        Role.SERVER,
        b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n",
        "POST",
    ),
    "HTTP/1.0 with Connection: keep-alive: h11 never keeps it, Go does (observed)": (
        _has(rb"HTTP/1\.0.*keep-alive"),
        Role.SERVER,
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET",
    ),
    "other versions: h11 takes any digits, Go answers 505 (observed)": (
        _has(rb"HTTP/[^1]"),
        Role.SERVER,
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "rejected",
    ),
    "a Host that is none: h11 does not look at it, Go answers 400 (observed)": (
        _has(rb"\nhost:[ \t]*+[\w!$%&'()*+,.:;=\[\]~-]*+([^\w \t\r\n]|[ \t]+[^ \t\r\n]|[ \t]*\r?\n[ \t]+\S)"),
        Role.SERVER,
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "rejected",
    ),
    "CONNECT and Upgrade: h11 waits to hear whether the protocol changes, and here it never does": (
        _has(rb"^CONNECT|\nupgrade"),
        Role.SERVER,
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "CONNECT",
    ),
    "options without a comma between them: h11 sees one, Go each (observed)": (
        _has(rb"\nconnection:[ \t]*+[^\s,]+(\r?\n)?[ \t]+[^\s,]"),
        Role.SERVER,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x close\r\n\r\n",
        "GET",
    ),
    "Expect: h11 leaves other expectations to the application, Go answers 417 (observed)": (
        _has(rb"\nexpect"),
        Role.SERVER,
        POST + b"Expect: x\r\n\r\n",
        "rejected",
    ),
    "a request that is framed twice: h11 keeps its connection, RFC 9112 wants it closed (6.1)": (
        _has(rb"\ntransfer-encoding:.*\ncontent-length:|\ncontent-length:.*\ntransfer-encoding:"),
        Role.SERVER,
        POST + CHUNKED + b"Content-Length: 1\r\n\r\n0\r\n\r\n",
        "POST",
    ),
    "declared trailers: h11 does not look at the declaration, Go refuses framing fields in it (observed)": (
        _has(rb"\ntrailer"),
        Role.SERVER,
        POST + CHUNKED + b"Trailer: Content-Length\r\n\r\n0\r\n\r\n",
        "rejected",
    ),
    "framing fields in trailers: h11 gives them or refuses them, the service ignores them (observed)": (
        _has(_IN_CHUNKS + rb"(content-length|transfer-encoding|trailer)"),
        Role.SERVER,
        POST + CHUNKED + b"\r\n0\r\nContent-Length: 3\r\n\r\n",
        "POST",
    ),
    "trailers in lines that end in LF, or folded: h11 takes them, Go's search for their end does not": (
        _has(_IN_CHUNKS + rb"([^\r]\n|\n[ \t]|\n\n|\r\r)"),
        Role.SERVER,
        POST + CHUNKED + b"\r\n0\r\nT: v\n\n",
        "rejected",
    ),
    "chunk sizes of more than 16 digits: h11 takes 20, Go 16": (
        _has(rb"transfer-encoding.*\n[0-9a-f]{17,}"),
        Role.SERVER,
        POST + CHUNKED + b"\r\n00000000000000001\r\nx\r\n0\r\n\r\n",
        "rejected",
    ),
}


class TestOracle:
    """Our reader and h11 give the same verdict on the same bytes, but for the differences that are listed."""

    @pytest.mark.parametrize("reason", DIFFERENCES)
    def test_differences(self, reason: str) -> None:
        """Each is real, and is recognised by its own pattern."""
        applies, role, wire, ours = DIFFERENCES[reason]
        assert applies(wire)
        assert by_us(wire, role).first_line[0] == ours
        assert by_us(wire, role) != by_h11(wire, role)

    @settings(max_examples=400)
    @given(
        role=st.sampled_from(Role),
        lines=st.lists(
            st.sampled_from(
                [
                    b"Host: a",
                    b"Content-Length: 3",
                    b"Content-Length: 0",
                    b"content-length: 3, 3",
                    b"Content-Length: -1",
                    b"Transfer-Encoding: chunked",
                    b"Transfer-Encoding: gzip",
                    b"Connection: close",
                    b"Connection: keep-alive",
                    b"X: \xc3\xa9",
                    b"X:  y\t",
                    b" folded",
                    b"bad name: x",
                    b"no colon",
                    b"Upgrade: h2c",
                    b"X: a\rb",
                ]
            ),
            max_size=5,
        ),
        first=st.sampled_from(
            [
                b"GET / HTTP/1.1",
                b"POST /a?b HTTP/1.1",
                b"HEAD / HTTP/1.1",
                b"CONNECT a:1 HTTP/1.1",
                b"GET / HTTP/1.0",
                b"GET  / HTTP/1.1",
                b"GET /\xff HTTP/1.1",
                b"",
            ]
        ),
        status=st.sampled_from(
            [
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 204",
                b"HTTP/1.1 304 ",
                b"HTTP/1.0 200 OK",
                b"HTTP/1.1 20 OK",
                b"HTTP/1.1 099 x",
            ]
        ),
        interim=st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n"]),
        body=st.sampled_from(
            [b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nt: v\r\n\r\n", b"zz\r\n", b"3\r\nab"]
        ),
        line_end=st.sampled_from([b"\r\n", b"\n"]),
    )
    def test_messages(
        self,
        role: Role,
        lines: list[bytes],
        first: bytes,
        status: bytes,
        interim: bytes,
        body: bytes,
        line_end: bytes,
    ) -> None:
        """Messages of every make, right and wrong."""
        start = first if role is Role.SERVER else interim + status
        self.compare(line_end.join([start, *lines, b"", b""]) + body, role)

    @settings(max_examples=400)
    @given(
        role=st.sampled_from(Role),
        seed=st.integers(0, 7),
        at=st.integers(0, 200),
        length=st.integers(0, 3),
        data=st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b":", b" ", b"0", b"\r\n\r\n"]),
    )
    @example(role=Role.SERVER, seed=0, at=0, length=0, data=b"\r\n")
    @example(role=Role.SERVER, seed=0, at=200, length=0, data=b"")
    def test_mutations(self, role: Role, seed: int, at: int, length: int, data: bytes) -> None:
        """Right messages with a few bytes changed, added or lost."""
        seeds = {
            Role.SERVER: [
                GET,
                POST + b"Content-Length: 3\r\n\r\nabc",
                POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nt: v\r\n\r\n",
                b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
            ],
            Role.CLIENT: [
                OK + b"Content-Length: 3\r\n\r\nabc",
                OK + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nt: v\r\n\r\n",
                OK + b"\r\nabc",
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 x\r\n\r\n",
            ],
        }[role]
        wire = seeds[seed % len(seeds)]
        at %= len(wire) + 1
        self.compare(wire[:at] + data + wire[at + length :], role)

    def compare(self, wire: bytes, role: Role) -> None:
        if any(applies(wire) for applies, *_ in DIFFERENCES.values()):
            by_us(wire, role)  # still one verdict for every delivery
        else:
            assert by_us(wire, role) == by_h11(wire, role)


PARTS = (
    b"GET ", b"POST ", b"/", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", CHUNKED,
    b"\r\n", b"\n", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"x" * 300, b"\0", OK, b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 204 N\r\n\r\n", GET, POST,
)  # fmt: skip


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @settings(max_examples=100)
    @given(data=st.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @settings(max_examples=200)
    @given(parts=st.lists(st.sampled_from(PARTS), max_size=12))
    def test_nearly_right(self, parts: list[bytes]) -> None:
        """Parts of messages in any order."""
        one_input(b"".join(parts))


class TestPlaces:
    """A fault of a head is placed at the line that is wrong (RT-CONN-16), wherever in the connection the head is."""

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"Host: b c", "expected a host and a port in Host, got 'b c'"),
            (b"Expect: 200", "expected Expect: 100-continue or none, got '200'"),
            (b"Transfer-Encoding: gzip", "expected Transfer-Encoding: chunked, once, got b'gzip'"),
            (
                b"Content-Length: 9223372036854775808",
                "expected a Content-Length of at most 9223372036854775807, got 9223372036854775808",
            ),
            (b"Content-Length: -3", "expected one number as Content-Length, got b'-3'"),
            (b"Bad Header: 1", "expected a name, a colon and a value, got b'Bad Header: 1'"),
            (
                b"Trailer: Content-Length\r\nTransfer-Encoding: chunked",
                "expected no trailer that speaks of framing, got 'Content-Length'",
            ),
        ],
    )
    def test_lines(self, line: bytes, reason: str) -> None:
        """Of the third request, with what was expected and what came; the rules are those of ``test_rules``."""
        others = b"a: b\r\n" if line.startswith(b"Host") else b"Host: a\r\n"
        before = GET * 2 + b"GET / HTTP/1.1\r\n" + others
        assert fault_of(before + line + b"\r\nc: d\r\n\r\n")[:2] == (reason, len(before))

    def test_a_control_character(self) -> None:
        """That one itself."""
        reason, at, _ = fault_of(b"GET / HTTP/1.1\r\nHost: a\r\nb: \x01\r\n\r\n")
        assert (reason, at) == ("expected a head without control characters, got b'\\x01'", 28)

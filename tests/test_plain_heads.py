"""Heads in the plain shape: what h11 reads in them, and nothing that it refuses; and real peers write no others."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz.fuzz_http11 import pull
from fuzz.fuzz_plain_heads import PARTS, assert_agreed, heads, one_input
from lambda_wire import _h11
from lambda_wire._h11 import BadHead, odd_request, odd_response
from lambda_wire._http11 import MessageReader
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswer, InvokeAnswered, InvokeAsked, InvokeRefused
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._messages import MalformedMessage, MessageEnd, RequestHead, ResponseHead
from lambda_wire._plain_heads import counted_response, plain_request, plain_response
from lambda_wire._signals import Role
from tests.aws_sdk import lambda_client
from tests.capture import Capture, Direction, Step, load_all
from tests.real_parts import missing, need_module
from tests.test_pair import CONVERSATIONS, pair

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
PATIENCE_S = 30


def is_plain(head: bytes) -> bool:
    """Say whether a head is plain, having compared what both readers say."""
    assert_agreed(head)
    return (plain_response if head.startswith(b"HTTP/") else plain_request)(head) is not None


def is_refused(head: bytes) -> bool:
    """Say whether h11 refuses a head."""
    try:
        if head.startswith(b"HTTP/"):
            odd_response(head, "GET")
        else:
            odd_request(head)
    except BadHead:
        return True
    return False


# -- the shape

PLAIN: dict[str, bytes] = {
    "a request": GET + b"\r\n",
    "a name in capitals": b"GET / HTTP/1.1\r\nHOST: a\r\n\r\n",
    "a name in lower case": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "an odd name": GET + b"!#$%&'*+-.^_`|~0Az: b\r\n\r\n",
    "many methods": b"PATCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute target": b"PUT http://a/b?c=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
    "the server as target": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "no value": GET + b"X:\r\nY: \r\nZ:   \r\n\r\n",
    "no Host but an empty one": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "no blank before a value": GET + b"X:y\r\n\r\n",
    "blanks around and in a value": GET + b"X:   a  b   \r\n\r\n",
    "blanks before the value of a usual name": GET + b"Date:  a\r\n\r\n",
    "a blank behind the value of a usual name": GET + b"Date: a \r\n\r\n",
    "colons in a value": GET + b"X: a: b:c::\r\nY::\r\n\r\n",
    "text in UTF-8": GET + "X: é☃😀\r\n\r\n".encode(),
    "text that is no UTF-8": GET + b"X: \xff\xe2\x82 \xed\xb2\x80\r\n\r\n",
    "line ends and blanks of Unicode alone": GET + "X: \x85\xa0\u2028a\u2003\r\n\r\n".encode(),
    "bytes that are blanks in Latin-1 alone": GET + b"X: \x85\xa0a\x85\xa0\r\n\r\n",
    "20 digits of length": GET + b"Content-Length: 99999999999999999999\r\n\r\n",
    "zeros before a length": GET + b"Content-Length: 007\r\n\r\n",
    "chunks": GET + b"transfer-encoding: chunked\r\n\r\n",
    "a length in a response": OK + b"Content-Length: 0\r\n\r\n",
    "no fields": OK + b"\r\n",
    "the first final status": b"HTTP/1.1 200 OK\r\n\r\n",
    "the last final status that has a class": b"HTTP/1.1 599 x\r\n\r\n",
    "an empty reason": b"HTTP/1.1 404 \r\n\r\n",
    "a reason of blanks": b"HTTP/1.1 404   a  \r\n\r\n",
    "a reason in UTF-8": "HTTP/1.1 404 é\r\n\r\n".encode(),
}

#: Not plain, and whether h11 refuses it.
ODD: dict[str, tuple[bytes, bool]] = {
    "nothing": (b"\r\n\r\n", True),
    "a first line alone, in LF": (b"GET / HTTP/1.1\n\n", True),
    "LF at the ends": (b"GET / HTTP/1.1\nHost: a\n\n", False),
    "LF at one end": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", False),
    "LF at the last end": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", False),
    "LF before the last end": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", False),
    "CR alone": (GET + b"X: a\rb\r\n\r\n", True),
    "two CR": (GET + b"X: a\r\r\n\r\n", True),
    "LF before CR": (b"GET / HTTP/1.1\r\nX\n\rHost: a\r\n\r\n", True),
    "NUL": (GET + b"X: a\0b\r\n\r\n", True),
    "a control character": (GET + b"X: a\x01b\r\n\r\n", False),
    "DEL": (GET + b"X: a\x7fb\r\n\r\n", False),
    "a form feed": (GET + b"X: a\x0cb\r\n\r\n", True),
    "a separator of ASCII, which Python strips": (GET + b"X: \x1ca\r\n\r\n", False),
    "a tab in a value": (GET + b"X: a\tb\r\n\r\n", False),
    "a tab before a value": (GET + b"X:\tb\r\n\r\n", False),
    "a folded line": (GET + b"X: a\r\n b\r\n\r\n", False),
    "a folded line that looks like a field": (GET + b"X: a\r\n b: c\r\n\r\n", False),
    "a folded first line": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", True),
    "a blank before a colon": (GET + b"X : y\r\n\r\n", True),
    "a blank in a name": (GET + b"X y: z\r\n\r\n", True),
    "no name": (GET + b": y\r\n\r\n", True),
    "no colon": (GET + b"X\r\n\r\n", True),
    "no colon after a usual name": (GET + b"Date\r\n\r\n", True),
    "a name that is not ASCII": (GET + "Kelvin-\u212a: y\r\n\r\n".encode(), True),
    "a name that is in ASCII only in lower case": (GET + "\u212a: y\r\n\r\n".encode(), True),
    "a name twice": (GET + b"X: y\r\nx: z\r\n\r\n", False),
    "a name twice with one value": (GET + b"X: y\r\nX: y\r\n\r\n", False),
    "Host twice": (GET + b"host: a\r\n\r\n", True),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", True),
    "a length twice": (GET + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\n", False),
    "two lengths": (GET + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n", True),
    "a list of lengths": (GET + b"Content-Length: 1, 1\r\n\r\n", False),
    "a length with a sign": (GET + b"Content-Length: +1\r\n\r\n", True),
    "a negative length": (GET + b"Content-Length: -1\r\n\r\n", True),
    "a length with a blank": (GET + b"Content-Length: 1 1\r\n\r\n", True),
    "a length with a low line, which Python's int takes": (GET + b"Content-Length: 1_1\r\n\r\n", True),
    "an empty length": (GET + b"Content-Length:\r\n\r\n", True),
    "21 digits of length": (GET + b"Content-Length: 000000000000000000001\r\n\r\n", True),
    "digits of another script, which Python's int takes": (GET + "Content-Length: \u0661\r\n\r\n".encode(), True),
    "digits above the line": (GET + "Content-Length: \xb2\r\n\r\n".encode(), True),
    "a length and chunks": (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    "chunks in capitals": (GET + b"Transfer-Encoding: Chunked\r\n\r\n", False),
    "another coding": (GET + b"Transfer-Encoding: gzip\r\n\r\n", True),
    "two codings": (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", True),
    "chunks twice": (GET + b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", True),
    "an empty coding": (GET + b"Transfer-Encoding:\r\n\r\n", True),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", False),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", False),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", False),
    "http/1.1": (b"GET / http/1.1\r\nHost: a\r\n\r\n", True),
    "no version": (b"GET /\r\nHost: a\r\n\r\n", True),
    "another method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", False),
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", False),
    "CONNECT, which h11 treats by itself": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", False),
    "no method": (b" / HTTP/1.1\r\nHost: a\r\n\r\n", True),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", True),
    "an empty target": (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", True),
    "two blanks": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", True),
    "a blank in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", True),
    "a blank at the end": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", True),
    "a target that is not ASCII": ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(), True),
    "an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n", False),
    "a change of protocol": (b"HTTP/1.1 101 x\r\n\r\n", True),
    "the last interim status": (b"HTTP/1.1 199 x\r\n\r\n", False),
    "a status of no class": (b"HTTP/1.1 600 x\r\n\r\n", False),
    "the last status": (b"HTTP/1.1 999 x\r\n\r\n", False),
    "a status below all": (b"HTTP/1.1 099 x\r\n\r\n", True),
    "two digits of status": (b"HTTP/1.1 20 x\r\n\r\n", True),
    "four digits of status": (b"HTTP/1.1 2000 x\r\n\r\n", True),
    "digits of status in another script": ("HTTP/1.1 20\u0660 x\r\n\r\n".encode(), True),
    "neither reason nor its blank": (b"HTTP/1.1 200\r\n\r\n", False),
    "a tab before the reason": (b"HTTP/1.1 200\tOK\r\n\r\n", True),
    "a tab in the reason": (b"HTTP/1.1 200 O\tK\r\n\r\n", False),
    "a response of HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n", False),
    "two blanks before the status": (b"HTTP/1.1  200 OK\r\n\r\n", True),
    "a response with a bad field": (OK + b"X Y: z\r\n\r\n", True),
}


class TestShape:
    """What is plain, and what is left to h11."""

    @pytest.mark.parametrize("what", PLAIN)
    def test_plain(self, what: str) -> None:
        """Read here, as h11 reads it."""
        assert is_plain(PLAIN[what])

    @pytest.mark.parametrize("what", ODD)
    def test_odd(self, what: str) -> None:
        """Not read here; whether it is a head at all is for h11 to say."""
        head, refused = ODD[what]
        assert list(heads(head)) in ([head], [])
        assert not is_plain(head)
        assert is_refused(head) is refused

    @pytest.mark.parametrize(
        "head", [b"", b"\r\n", GET, GET + b"X: y\r\n\r\n\n", GET + b"\r\nX: y\r\n\r\n", OK + b"X: y\r\n"]
    )
    def test_only_whole_heads(self, head: bytes) -> None:
        """What does not end with its one empty line is no plain head."""
        assert (plain_request(head), plain_response(head)) == (None, None)

    def test_what_a_request_says(self) -> None:
        """Words and fields in order."""
        head = b"POST /a?b HTTP/1.1\r\nHost: c\r\nX-Y:  \xc3\xa9\xff \r\nContent-Length: 3\r\n\r\n"
        fields = (("host", "c"), ("x-y", "é\udcff"), ("content-length", "3"))
        assert plain_request(head) == odd_request(head) == ("POST", "/a?b", "1.1", fields)

    def test_what_a_response_says(self) -> None:
        """Status and fields in order."""
        head = b"HTTP/1.1 404 Not Found\r\nB: 1\r\nTrailer:\r\nA: 2\r\n\r\n"
        fields = (("b", "1"), ("trailer", ""), ("a", "2"))
        assert plain_response(head) == odd_response(head, "GET") == (404, "1.1", fields)

    @pytest.mark.parametrize("status", range(1000))
    def test_every_status(self, status: int) -> None:
        """The final ones that have a class are plain, whatever they answer."""
        head = f"HTTP/1.1 {status:03} x\r\n\r\n".encode()
        for method in ("GET", "HEAD", "CONNECT"):
            assert_agreed(head, method)
        assert (plain_response(head) is not None) is (200 <= status < 600)

    @pytest.mark.parametrize("byte", range(256))
    def test_every_byte_everywhere(self, byte: int) -> None:
        """In every place of a request and of a response, added or instead of what is there."""
        for head in (b"GET / HTTP/1.1\r\nHost: a\r\nDate:b\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: b\r\nX:c\r\n\r\n"):
            for at in range(len(head)):
                for length in (0, 1):
                    for found in heads(head[:at] + bytes((byte,)) + head[at + length :]):
                        assert_agreed(found)


# -- near the shape

_TEXTS = st.text("ab\t :,;=\x85\xa0é☃\udcff\udcc3", max_size=4).map(
    lambda text: text.encode("utf-8", "surrogateescape")
)
_NAMES = st.sampled_from(
    (b"Host", b"host", b"HOST", b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING",
     b"Date", b"Connection", b"Upgrade", b"Expect", b"Trailer", b"X-A", b"x-a", b"x_b.c", b"", b"a b", b"X-\xc3\xa9")
)  # fmt: skip
_VALUES = st.one_of(
    _TEXTS,
    st.integers(0, 10**22).map(lambda number: str(number).encode()),
    st.sampled_from(
        (b"a", b"0", b"1", b"+1", b"-1", b"1, 1", b"1,2", b" 7 ", b"1_0", b"9" * 20, b"0" * 21, "\u0661".encode(),
         b"\xb2", b"chunked", b"Chunked", b"gzip", b"gzip, chunked", b"close", b"keep-alive", b"h2c", b"100-continue",
         b"_SWITCH")
    ),
)  # fmt: skip
_BLANKS = st.sampled_from((b" ", b" ", b" ", b"", b"  ", b"\t"))
_ENDS = st.sampled_from((b"\r\n",) * 12 + (b"\n", b"\r\r\n", b"\r\n ", b"\r\n\t"))
_FRAMING = st.sampled_from(
    (b"Content-Length: 1\r\n", b"content-length: +1\r\n", b"Content-Length: \xd9\xa1\r\n",
     b"Content-Length: \xc2\xb2\r\n", b"Content-Length:\r\n", b"Content-Length: " + b"0" * 21 + b"\r\n",
     b"Content-Length: 1, 1\r\n",
     b"Transfer-Encoding: chunked\r\n", b"transfer-encoding: Chunked\r\n", b"Transfer-Encoding: gzip\r\n")
)  # fmt: skip
_FIELDS = _FRAMING | st.builds(
    lambda name, colon, before, value, after, end: name + colon + before + value + after + end,
    _NAMES,
    st.sampled_from((b":",) * 12 + (b" :", b"")),
    _BLANKS,
    _VALUES,
    st.sampled_from((b"", b"", b"", b" ", b"\t")),
    _ENDS,
)
_REQUEST_LINES = st.builds(
    lambda method, target, version: b" ".join((method, target, version)),
    st.sampled_from((b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS") * 2 + (b"get", b"CONNECT", b"BREW", b"G T", b"")),
    st.sampled_from((b"/", b"/a?b=%20", b"http://a/b", b"*", b"a:1", b"/\xc3\xa9", b"/\xff", b"/a b", b"")),
    st.sampled_from((b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ")),
)
_STATUS_LINES = st.builds(
    lambda version, status, reason: version + b" " + str(status).zfill(3).encode() + reason,
    st.sampled_from((b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ")),
    st.integers(200, 599) | st.integers(0, 1000),
    st.sampled_from((b" OK", b" ", b"", b"  a  b ", b" \xc3\xa9\xff", b" a\tb", b"\tOK")),
)
_HEADS = st.builds(
    lambda line, end, host, fields: line + end + host + b"".join(fields) + b"\r\n",
    _REQUEST_LINES | _STATUS_LINES,
    _ENDS,
    st.sampled_from((b"Host: a\r\n",) * 5 + (b"host:\r\n", b"")),
    st.lists(_FIELDS, max_size=4),
)
_EDITS: st.SearchStrategy[list[tuple[int, int, bytes]]] = st.just([]) | st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 2),
        st.text("\r\n\t :,\0\x01\x7f\x80\xc3\xff0159aZ-", max_size=2).map(lambda text: text.encode("latin-1")),
    ),
    max_size=2,
)


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(head=_HEADS, edits=_EDITS, method=st.sampled_from(("GET", "HEAD", "POST", "CONNECT")))
@example(head=GET + b"\r\n", edits=[], method="GET")
def test_near_the_shape(head: bytes, edits: list[tuple[int, int, bytes]], method: str) -> None:
    """Heads that are plain, or nearly so, with some bytes added, changed or lost: both readers agree."""
    for at, length, data in edits:
        at %= len(head) + 1
        head = head[:at] + data + head[at + length :]
    for found in heads(head):
        assert_agreed(found, method)


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @settings(max_examples=200)
    @given(data=st.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @settings(max_examples=500)
    @given(data=st.lists(st.integers(0x80, 0x7F + len(PARTS)), max_size=16).map(bytes))
    @example(data=b"\r\n\n\n\r\n")
    def test_nearly_right(self, data: bytes) -> None:
        """Parts of heads in any order."""
        one_input(data)


# -- real peers

#: The recordings that hold heads which are not plain: how many, and why.
RECORDED: dict[str, tuple[int, str]] = {
    "a40_routing": (13, "asks what is refused: other methods and versions, no Host, LF, bad names, two framings"),
    "a42_expect_100_continue": (1, "an interim response, which is read and forgotten"),
    "a62_dup_headers_and_ws": (3, "asks with names twice, and with tabs around a value"),
}


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every head that a reader leaves to h11, from now on."""
    found: list[bytes] = []

    def noted_request(head: bytes) -> object:
        found.append(head)
        return odd_request(head)

    def noted_response(head: bytes, method: str) -> object:
        found.append(head)
        return odd_response(head, method)

    monkeypatch.setattr(_h11, "odd_request", noted_request)
    monkeypatch.setattr(_h11, "odd_response", noted_response)
    return found


def test_recordings(odd: list[bytes]) -> None:
    """What the emulator, its runtimes and its callers said is plain, but for what is listed."""
    read: dict[str, int] = {}
    found: dict[str, int] = {}
    for capture in load_all():
        read[capture.name] = heads_read(capture)
        if odd:
            found[capture.name] = len(odd)
            odd.clear()
    assert found == {name: count for name, (count, _) in RECORDED.items()}
    assert sum(read.values()) > 700
    assert all(read.values())


def heads_read(capture: Capture) -> int:
    """Read every connection of a recording in both directions; return how many final heads there were."""
    count = 0
    for steps in capture.connections.values():
        methods = [head.method for head in read(steps, Direction.SENT) if isinstance(head, RequestHead)]
        count += len(methods) + len(read(steps, Direction.RECEIVED, methods))
    return count


def read(steps: tuple[Step, ...], direction: Direction, methods: list[str] | None = None) -> list[object]:
    """Return the heads in one direction of a connection, up to its end, to a fault, or to what the recording lacks."""
    answered = iter(methods or ())
    reader = MessageReader(Role.CLIENT if direction is Direction.RECEIVED else Role.SERVER)
    reader.expect(next(answered, "GET"))
    found: list[object] = []
    with suppress(MalformedMessage):
        for step in steps:
            if step.elided:
                break
            if step.direction is direction and step.data:
                reader.receive_data(step.data)
                for event in pull(reader):
                    if isinstance(event, (RequestHead, ResponseHead)):
                        found.append(event)
                    elif isinstance(event, MessageEnd):
                        reader.expect(next(answered, "GET"))
    return found


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_our_runtime_and_our_service(odd: list[bytes], name: str) -> None:
    """Both ends of the Runtime API write plain heads, but where somebody's own fields have a name twice."""
    runtime, service = pair()
    for ask, answer in CONVERSATIONS[name]:
        service.receive_data(runtime.send(ask))
        assert service.next_event() == ask
        if answer is not None:
            runtime.receive_data(service.send(answer))
            assert runtime.next_event() == answer
    assert all(head.count(b"traceparent: ") == 2 for head in odd)
    assert [head for head in odd if not head.startswith(b"HTTP/1.1 200 ")] == []


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (InvokeAsked(function_name="f", payload=b"{}", tenant_id="t"), InvokeAnswered(payload=b"{}", request_id="id")),
        (InvokeAsked(function_name="f", streaming=True, trace_id="Root=1"), InvokeAccepted(content_type="a/b")),
        (InvokeAsked(function_name="f", payload=b"{}"), InvokeRefused(status=429, error_type="E", message="m")),
    ],
)
def test_our_caller_and_our_service(odd: list[bytes], asked: InvokeAsked, answer: InvokeAnswer) -> None:
    """Both ends of Invoke write plain heads."""
    caller, service = InvokeConnection(host="a"), InvokeServiceConnection()
    service.receive_data(caller.send(asked))
    assert isinstance(service.next_event(), InvokeAsked)
    caller.receive_data(service.send(answer))
    assert isinstance(caller.next_event(), type(answer))
    assert odd == []


class Peer:
    """A service that keeps the heads of all requests, each of which comes on a connection of its own.

    Attributes:
        address: Where it is, and ``url``.
        heads: What it was asked so far.
        answers: What it answers next, with ``Connection: close``; the last one again and again. ``b""`` is none.
        done: Is set when there was no answer left.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self.done = threading.Event()
        self._ended = False

    def serve(self) -> None:
        """Serve one connection after the other until ``end`` is called."""
        while not self._ended:
            connection, _ = self._listener.accept()
            connection.settimeout(PATIENCE_S)
            with connection, suppress(ConnectionError):
                self._converse(connection)
        self._listener.close()

    def _converse(self, connection: socket.socket) -> None:
        reader = MessageReader(Role.SERVER)
        received = b""
        while data := connection.recv(65_536):
            received += data
            reader.receive_data(data)
            for event in pull(reader):
                if isinstance(event, RequestHead):
                    self.heads += [received[: received.index(b"\r\n\r\n") + 4]]
                if isinstance(event, MessageEnd):
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    if not answer:
                        self.done.set()
                        return
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):  # so that nothing unread resets the connection
                        pass
                    return
                if isinstance(event, RequestHead) and event.expects_continue:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def end(self) -> None:
        """Wake ``serve`` with a last connection."""
        self._ended = True
        with suppress(OSError):  # it has ended by itself, after a connection that was under way
            socket.create_connection(self._listener.getsockname()).close()


@contextmanager
def peer(*answers: bytes) -> Iterator[Peer]:
    """Serve in a thread of its own."""
    made = Peer(*answers)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def by_http_client(url: str) -> None:
    """Ask as the standard library does, with a counted body, one in chunks, and none."""
    body: Iterator[bytes] = iter([b"a", b"b"])
    for content in (b"ab", body, None):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
        connection.request("POST" if content else "GET", "/a?b", body=content, headers={"X-A": "1"})
        assert connection.getresponse().read() == b"{}"
        connection.close()


def by_urllib(url: str) -> None:
    """Ask as ``urllib.request`` does: its fields come in an order and a spelling of its own."""
    request = urllib.request.Request(f"{url}/", data=b"{}", headers={"x-custom": "é".encode().decode("latin-1")})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.read() == b"{}"


def by_boto3(url: str) -> None:
    """Call a function as AWS's SDK for Python does, through urllib3."""
    with lambda_client(url) as client:
        answer = client.invoke(FunctionName="f", Payload=b'{"a": 1}', LogType="Tail", ClientContext="e30=")
        assert answer["Payload"].read() == b"{}"
        client.invoke_with_response_stream(FunctionName="f", Payload=b"{}")["EventStream"].close()


def by_curl(url: str) -> None:
    """Ask as curl does, with a body and without, and in chunks."""
    program = shutil.which("curl")
    if program is None:
        missing("there is no curl on this machine")
    for more in ([], ["-d", "{}"], ["-H", "Transfer-Encoding: chunked", "-d", "{}"], ["-I"]):
        command = [program, "-sS", "--noproxy", "*", *more, f"{url}/a?b=c"]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)


def by_node(url: str) -> None:
    """Ask as ``fetch`` of Node.js does, with a body and without."""
    program = shutil.which("node")
    if program is None:
        missing("there is no node on this machine")
    script = "(async () => { for (const body of [undefined, '{}']) "
    script += f"await (await fetch('{url}/a', {{method: body ? 'POST' : 'GET', body}})).text() }})()"
    subprocess.run([program, "-e", script], check=True, capture_output=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("asks", [by_http_client, by_urllib, by_boto3, by_curl, by_node])
def test_callers(asks: Callable[[str], None]) -> None:
    """Programs and libraries that call functions write plain heads."""
    with peer(ANSWER) as service:
        asks(service.url)
    assert service.heads
    assert [head for head in service.heads if not is_plain(head)] == []


def test_awss_runtime_client(tmp_path: Path) -> None:
    """AWS's own client of the Runtime API writes plain heads, for what it returns and for what it reports."""
    need_module("awslambdaric")
    tmp_path.joinpath("app.py").write_text("def handler(event, _):\n    return {1: 2}[event]\n")
    invocation = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    invocation += b"Lambda-Runtime-Aws-Request-Id: id\r\n"
    invocation += b"Lambda-Runtime-Deadline-Ms: 1\r\nLambda-Runtime-Invoked-Function-Arn: arn:a\r\n\r\n"
    accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    command = [sys.executable, "-m", "awslambdaric", "app.handler"]
    with peer(invocation + b"1", accepted, invocation + b"2", accepted, b"") as service:
        environment = os.environ | {"AWS_LAMBDA_RUNTIME_API": service.address, "LAMBDA_TASK_ROOT": str(tmp_path)}
        output = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output) as process:
            try:
                assert service.done.wait(PATIENCE_S)
            finally:
                process.kill()
    asked = [head.split(b" ")[:2] for head in service.heads]
    assert [words[1].rpartition(b"/")[2] for words in asked[:5]] == [b"next", b"response", b"next", b"error", b"next"]
    assert [head for head in service.heads if not is_plain(head)] == []


class TestCounted:
    """An answer whose body is counted and not the last, told at once; whatever is else is for others."""

    @pytest.mark.parametrize("more", ["", "x" * 300])
    def test_counted(self, more: str) -> None:
        """Status, fields and size, of a short head and of a long one."""
        head = f"HTTP/1.1 205 A\r\nContent-Length: 7\r\nx-a:  {more}\r\n\r\n".encode()
        assert counted_response(head) == (205, (("content-length", "7"), ("x-a", more)), 7)
        assert counted_response(head.replace(b"205", b"305")) is not None

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 204 A\r\nContent-Length: 7\r\n\r\n",
            b"HTTP/1.1 304 A\r\nContent-Length: 7\r\n\r\n",
            b"HTTP/1.1 200 A\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 A\r\nX-A: 7\r\n\r\n",
            b"HTTP/1.1 100 A\r\nContent-Length: 7\r\n\r\n",
        ],
    )
    def test_for_others(self, head: bytes) -> None:
        """Without a body, the last, not counted, or not plain: of a short head and of a long one."""
        assert counted_response(head) is None
        assert counted_response(head.replace(b" A\r\n", b" A\r\nX-B: " + b"x" * 300 + b"\r\n")) is None

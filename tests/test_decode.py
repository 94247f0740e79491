"""``lambda-wire decode``: every byte is explained, and the first rule that is broken is named, with its place."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_wire._chunked import encode_chunk, encode_end
from lambda_wire._event_stream import EventStreamHeader, EventStreamMessage, HeaderType, encode_event_stream
from lambda_wire._events import (
    ErrorReported,
    NextAsked,
    PingAsked,
    ResponseChunk,
    ResponseFailed,
    ResponseStarted,
)
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_answers import encode_message
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._names import HTTP_INTEGRATION_RESPONSE
from lambda_wire._prelude import DELIMITER, Prelude, encode_prelude
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._state import State
from lambda_wire.cli import main
from lambda_wire.decode import explain, recognise
from lambda_wire.decode.pieces import Layer, Piece, Verdict, as_line
from tests.bootstrap_parts import environment
from tests.capture import Capture, Direction, load_all

CAPTURES: Final = load_all()
WAYS: Final = (
    {Direction.SENT},
    {Direction.RECEIVED},
    {Direction.SENT, Direction.RECEIVED},
)
"""What may have been captured of a connection: what the party sent, what it received, or both."""

#: The first violation in each recording that has one: its rule and its offset, in each of ``WAYS``.
VIOLATIONS: Final[dict[tuple[str, str], tuple[str, str, str]]] = {
    ("a01_next_and_buffered_response", "caller/call.2"): ("IN-ASK-2 173", "", "IN-ASK-2 173"),
    ("a05_streaming_error_trailers_undeclared", "runtime/c1"): ("RS-HEAD-3 325", "", "RS-HEAD-3 652"),
    ("a07_streaming_aborted", "runtime#1/c2"): ("", "RT-RESP-12 0", "RT-RESP-12 0"),
    ("a07_streaming_aborted", "runtime/c2"): ("", "RT-RESP-12 0", "RT-RESP-12 0"),
    ("a08_buffered_truncated", "runtime/c2"): ("", "RT-RESP-12 0", "RT-RESP-12 0"),
    ("a19_error_oversized", "runtime/c1"): ("LI-ERROR-1 297", "", "LI-ERROR-1 624"),
    ("a22_init_error_then_next", "runtime/c1"): ("", "ER-EXIT-8 130", "ER-EXIT-8 324"),
    ("a23_init_error_after_next", "runtime/c1"): ("", "RT-INIT-4 327", "RT-INIT-4 402"),
    ("a30_unknown_request_id", "runtime/c1"): ("RT-PATH-5 423", "RT-PATH-7 327", "RT-PATH-7 402"),
    ("a31_response_twice", "runtime/c1"): ("", "RT-RESP-15 457", "RT-RESP-15 712"),
    ("a32_response_before_next", "runtime/c1"): ("RT-PATH-7 380", "RT-PATH-7 0", "RT-PATH-7 0"),
    ("a35_invalid_response_mode", "runtime/c1"): ("RT-RESP-6 222", "RT-RESP-6 327", "RT-RESP-6 549"),
    ("a36_response_mode_case", "runtime#1/c1"): ("RT-RESP-6 190", "RT-RESP-6 327", "RT-RESP-6 517"),
    ("a36_response_mode_case", "runtime#2/c1"): ("RT-RESP-6 190", "RT-RESP-6 327", "RT-RESP-6 517"),
    ("a36_response_mode_case", "runtime/c1"): ("RT-RESP-6 190", "RT-RESP-6 327", "RT-RESP-6 517"),
    ("a38_response_6mib_plus_101", "runtime/c1"): ("RT-RESP-13 249", "RT-RESP-13 327", "RT-RESP-13 576"),
    ("a39_streaming_oversized", "runtime/c1"): ("", "RT-RESP-13 327", "RT-RESP-13 631"),
    ("a40_routing", "runtime/c1"): ("", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c2"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c3"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c4"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c5"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c6"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c7"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c8"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c9"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c10"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c11"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c12"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c13"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c14"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c15"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c16"): ("RT-PATH-2 0", "", "RT-PATH-2 0"),
    ("a40_routing", "runtime/c17"): ("RT-PATH-7 0", "RT-PATH-7 0", "RT-PATH-7 0"),
    ("a40_routing", "runtime/c19"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c21"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c22"): ("RT-PATH-3 0", "", "RT-PATH-3 0"),
    ("a40_routing", "runtime/c27"): ("RT-CONN-2 0", "", "RT-CONN-2 0"),
    ("a40_routing", "runtime/c32"): ("RT-CONN-15 0", "", "RT-CONN-15 0"),
    ("a40_routing", "runtime/c34"): ("RT-CONN-15 0", "", "RT-CONN-15 0"),
    ("a40_routing", "runtime/c35"): ("RT-CONN-16 0", "", "RT-CONN-16 0"),
    ("a40_routing", "runtime/c36"): ("RT-CONN-16 40", "", "RT-CONN-16 40"),
    ("a40_routing", "runtime/c38"): ("LI-HEAD-1 1048576", "", "LI-HEAD-1 1048576"),
    ("a40_routing", "runtime/main"): ("", "ER-EXIT-8 0", "ER-EXIT-8 0"),
    ("a45_bad_chunk", "runtime/c1"): ("RS-CHUNK-1 306", "", "RS-CHUNK-1 633"),
    ("a52_caller_methods", "caller/call.2"): ("IN-PATH-1 0", "", "IN-PATH-1 0"),
    ("a52_caller_methods", "caller/call.4"): ("IN-ASK-11 81", "", "IN-ASK-11 81"),
    ("a53_request_6mib", "caller/call"): ("IN-ASK-5 127", "", "IN-ASK-5 127"),
    ("a57_xray_cause_big_header", "runtime/big"): ("LI-HEAD-1 1048576", "", "LI-HEAD-1 1048576"),
    ("a60_event_framing_boundary", "caller/call.2"): ("IN-ASK-2 121", "", "IN-ASK-2 121"),
    ("a60_event_framing_boundary", "caller/call.3"): ("IN-ASK-2 124", "", "IN-ASK-2 124"),
    ("a60_event_framing_boundary", "caller/call.4"): ("IN-ASK-2 124", "", "IN-ASK-2 124"),
    ("a60_event_framing_boundary", "caller/call.5"): ("IN-ASK-2 124", "", "IN-ASK-2 124"),
    ("a60_event_framing_boundary", "caller/call.6"): ("IN-ASK-2 124", "", "IN-ASK-2 124"),
    ("a60_event_framing_boundary", "caller/call.7"): ("IN-ASK-2 125", "", "IN-ASK-2 125"),
    ("a61_client_context_odd", "caller/call.3"): ("IN-ASK-11 81", "", "IN-ASK-11 81"),
    ("a61_client_context_odd", "caller/call.5"): ("IN-ASK-11 81", "", "IN-ASK-11 81"),
    ("a61_client_context_odd", "caller/call.6"): ("IN-ASK-11 81", "", "IN-ASK-11 81"),
    ("a61_client_context_odd", "caller/call.7"): ("IN-ASK-11 81", "", "IN-ASK-11 81"),
    ("a62_dup_headers_and_ws", "runtime/c1"): ("RS-HEAD-2 245", "", "RS-HEAD-2 572"),
    ("a63_path_variants_of_response", "runtime/c1"): ("RT-PATH-2 75", "", "RT-PATH-2 371"),
    ("a64_odd_request_id", "runtime/c1"): ("", "RT-PATH-7 296", "RT-PATH-7 371"),
    ("c30_snapstart_restore_next", "runtime/rt"): ("", "", "RT-RESTORE-3 121"),
    ("c30_snapstart_restore_next", "runtime/rt3"): ("", "RT-STATE-2 0", "RT-STATE-2 0"),
    ("c32_snapstart_restore_error", "runtime#1/rt"): ("", "RT-RESTORE-8 0", "RT-RESTORE-8 0"),
    ("c32_snapstart_restore_error", "runtime/rt"): ("", "RT-RESTORE-8 0", "RT-RESTORE-8 0"),
}
#: Recordings that end within a message.
CUT: Final = {
    ("a07_streaming_aborted", "runtime/c1"): "before its chunked body: the next chunk, or the last, begins at byte",
    ("a07_streaming_aborted", "runtime#1/c1"): "before its chunked body: the next chunk, or the last, begins at byte",
    ("a08_buffered_truncated", "runtime/c1"): "91 of them are missing",
}


def explained(data: bytes, kind: str = "http") -> list[Piece]:
    """Return the pieces of a capture, having seen that those of the wire are all of it, and each can be shown."""
    (part,) = explain(data, kind)
    pieces = list(part.pieces)
    at = 0
    for piece in pieces:
        assert 0 <= piece.offset <= piece.offset + piece.length <= len(data), piece
        assert len(as_line(piece, data)) <= 120
        if piece.layer is Layer.WIRE:
            assert piece.offset == at, piece
            at += piece.length
        if piece.verdict is Verdict.VIOLATION:
            assert all(piece.rules)
            assert piece.rules
    assert at == len(data)
    return pieces


def first(pieces: list[Piece], verdict: Verdict = Verdict.VIOLATION) -> Piece | None:
    return next((piece for piece in pieces if piece.verdict is verdict), None)


def named(pieces: list[Piece]) -> str:
    found = first(pieces)
    return "" if found is None else f"{found.rules[0]} {found.offset}"


def meanings(pieces: list[Piece]) -> list[object]:
    return [piece.value for piece in pieces if piece.layer is Layer.MESSAGE and piece.verdict is Verdict.FINE]


class TestCaptures:
    """Everything that AWS's emulator said and heard."""

    @pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
    def test_each_is_explained_to_its_last_byte(self, capture: Capture) -> None:
        """In either direction alone, and both together; what breaks a rule is named, and nothing else is accused."""
        for connection, steps in capture.connections.items():
            known = VIOLATIONS.get((capture.name, connection), ("", "", ""))
            for way, expected in zip(WAYS, known, strict=True):
                data = b"".join(step.data for step in steps if step.direction in way)
                assert recognise(data) == ("" if not data or data.startswith(b"GARBAGE") else "http")
                pieces = explained(data)
                assert named(pieces) == expected, (connection, way)
                cut = first(pieces, Verdict.INCOMPLETE)
                if Direction.SENT in way:
                    assert (cut is not None) is ((capture.name, connection) in CUT)
                assert cut is None or cut.what.startswith(f"ends at byte {len(data)}, ")
                assert cut is None or CUT[capture.name, connection] in cut.what

    def test_every_line_of_the_tables_is_of_a_recording(self) -> None:
        """Else nobody would see that a name is wrong."""
        connections = {(capture.name, connection) for capture in CAPTURES for connection in capture.connections}
        assert VIOLATIONS.keys() | CUT.keys() <= connections


# -- conversations of our own

HEAD = b"POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\n"
STREAMED = HEAD + b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
PRELUDE = encode_prelude(Prelude(status_code=201, headers=(("a", "b"),)))


def runtime(state: State) -> RuntimeConnection:
    lifecycle = StandardLifecycle(snap_start=True)
    lifecycle.state, lifecycle.request_id = state, "a"
    return RuntimeConnection(host="x", lifecycle=lifecycle)


def failed_stream() -> bytes:
    connection = runtime(State.RUNNING)
    return b"".join(
        connection.send(event)
        for event in (
            ResponseStarted(request_id="a", content_type=HTTP_INTEGRATION_RESPONSE),
            ResponseChunk(data=PRELUDE[:9]),
            ResponseChunk(data=PRELUDE[9:] + b"hello"),
            ResponseFailed(error_type="Function.Oops", error_body=b'{"errorMessage":"boom"}'),
        )
    )


def invoked(asked: InvokeAsked, *answers: InvokeAnswered | InvokeAccepted | PayloadChunk | InvokeComplete) -> bytes:
    """Return what both ends of a call send."""
    caller, service = InvokeConnection(host="x"), InvokeServiceConnection()
    request = caller.send(asked)
    service.receive_data(request)
    service.next_event()
    return request + b"".join(service.send(answer) for answer in answers)


def streamed_answer() -> bytes:
    return invoked(
        InvokeAsked(function_name="f", payload=b"{}", streaming=True),
        InvokeAccepted(content_type=HTTP_INTEGRATION_RESPONSE),
        PayloadChunk(payload=PRELUDE + b"hi"),
        InvokeComplete(log_result="bG9n"),
    )


def message(name: str, value: str, payload: bytes = b"") -> bytes:
    return encode_event_stream(
        EventStreamMessage(headers=(EventStreamHeader(name=name, value=value),), payload=payload)
    )


CHUNK = encode_event_stream(encode_message(PayloadChunk(payload=b"hi")))
COMPLETE = encode_event_stream(encode_message(InvokeComplete()))
SKIPPED = message(":event-type", "News")


class TestConversations:
    """What the roles send is explained as what it is."""

    def test_a_stream_with_prelude_that_fails(self) -> None:
        """The prelude lies in two chunks (FU-PRELUDE-6), and is found there; the trailers are what ends it."""
        data = failed_stream()
        pieces = explained(data)
        assert named(pieces) == ""
        assert meanings(pieces) == ["ResponseFailed"]
        metadata, end = [piece for piece in pieces if piece.layer is Layer.CONTENT]
        assert data[metadata.offset :].startswith(b'{"statusC\r\n')
        assert metadata.value == {
            "statusCode": 201,
            "headers": {"a": "b"},
            "cookies": (),
            "multiValueHeaders": {},
        }
        assert data[end.offset : end.offset + end.length] == DELIMITER
        assert [piece.rules for piece in pieces[-5:-1]] == [("RS-END-1",), ("RS-TRAILER-1",), ("RS-TRAILER-2",), ()]

    def test_both_ends_of_a_streamed_answer(self) -> None:
        """HTTP, event stream messages in its chunks, and a prelude in their payload (RS-PRELUDE-6)."""
        data = streamed_answer()
        pieces = explained(data)
        assert named(pieces) == ""
        assert meanings(pieces) == ["InvokeAsked", "PayloadChunk", "InvokeComplete", "InvokeAccepted"]
        parts = [piece for piece in pieces if piece.layer is Layer.CONTENT]
        assert [piece.rules[0] for piece in parts[:6]] == [
            *("ES-FRAME-3", "ES-HEADER-1", "ES-FRAME-8", "ES-CRC-3", "FU-PRELUDE-15", "FU-PRELUDE-3")
        ]
        headers = parts[1].value
        assert headers == {
            ":event-type": "PayloadChunk",
            ":content-type": "application/octet-stream",
            ":message-type": "event",
        }

    def test_an_answer_alone_shows_what_was_asked(self) -> None:
        """By its fields, its status, or its body; where it does not, only that it is an answer is said."""
        streamed = streamed_answer()
        answers = {
            streamed[streamed.index(b"HTTP/1.1 200") :]: "InvokeAccepted",
            b"HTTP/1.1 200 OK\r\nX-Amz-Executed-Version: 1\r\nContent-Length: 2\r\n\r\n{}": "InvokeAnswered",
            b"HTTP/1.1 404 No\r\nx-amzn-ErrorType: E\r\nContent-Length: 0\r\n\r\n": "InvokeRefused",
            b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\nLambda-Runtime-Deadline-Ms: 1\r\n"
            b"Lambda-Runtime-Invoked-Function-Arn: f\r\n\r\n{}": "Invocation",
            b'HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n': "Accepted",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong": "Pong",
            b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n": "Refused",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi": None,
        }
        for data, expected in answers.items():
            assert meanings(explained(data))[-1] == expected, data
            assert named(explained(data)) == ""

    def test_a_request_that_is_refused_instead_of_100(self) -> None:
        """Its body never comes: the next request begins behind the refusal."""
        asked = HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        ping = b"GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n"
        pieces = explained(asked + refused + ping)
        assert meanings(pieces) == ["Refused", "PingAsked"]
        assert first(pieces, Verdict.INCOMPLETE) is None

    def test_an_error_report(self) -> None:
        """Its document is read; what is none is no violation (ER-DOC-2)."""
        for payload, said in ((b'{"errorMessage":"m"}', "error document: "), (b"oops", "bytes that the service takes")):
            report = ErrorReported(request_id="a", error_type="E", payload=payload)
            pieces = explained(runtime(State.RUNNING).send(report))
            (document,) = [piece for piece in pieces if piece.layer is Layer.CONTENT]
            assert document.what.startswith(said)
            assert document.length == len(payload)
            assert named(pieces) == ""

    def test_an_answer_to_head_has_no_body(self) -> None:
        """It only says how long one would be (RFC 9110, 9.3.2)."""
        asked = b"HEAD /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n"
        pieces = explained(asked + b"HTTP/1.1 405 No\r\nContent-Length: 9\r\n\r\n" + asked.replace(b"HEAD", b"GET"))
        assert meanings(pieces)[1:] == ["Refused", "PingAsked"]

    def test_blank_lines_between_requests(self) -> None:
        """Go forgives some after a POST, and they are explained."""
        post = HEAD + b"Content-Length: 2\r\n\r\n{}"
        pieces = explained(post + b"\r\n" + runtime(State.STARTED).send(NextAsked()))
        assert meanings(pieces) == ["BufferedResponse", "NextAsked"]
        assert named(pieces) == ""

    def test_a_path_of_no_api(self) -> None:
        """It is a function URL's: nobody is accused (IN-PATH-10)."""
        pieces = explained(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (named(pieces), meanings(pieces)) == ("", ["OtherAsked"])

    def test_a_path_that_a_runtime_or_another_api_asks_for(self) -> None:
        """A runtime knows no function URL, and its service refuses it (RT-PATH-2); a date begins the paths of APIs."""
        stray = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        pieces = explained(runtime(State.STARTED).send(PingAsked()) + stray + refused * 2)
        assert (named(pieces), meanings(pieces)) == ("", ["PingAsked", None, "Refused", "Refused"])
        extension = stray.replace(b"/ ", b"/2020-01-01/extension/event/next ", 1)
        assert meanings(explained(extension + refused)) == [None, None]

    def test_a_date_of_the_runtime_api_within_another_path(self) -> None:
        """Only what begins a path names the API, also in absolute form (RFC 9112, 3.2.2)."""
        pieces = explained(b"GET /docs/2018-06-01/nxt?a=%zz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (named(pieces), meanings(pieces)) == ("", ["OtherAsked"])
        pieces = explained(b"GET http://x/2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (named(pieces), meanings(pieces)) == ("", ["PingAsked"])

    @pytest.mark.parametrize("status", [b"200 OK", b"202 Accepted", b"404 Not Found", b"502 Bad Gateway"])
    def test_a_function_url_answers(self, status: bytes) -> None:
        """Whatever its status and fields, it neither refuses nor accepts for an API (FU-HEAD-1, FU-HEAD-9)."""
        asked = b"GET /x HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\n\r\n"
        answer = (
            b"HTTP/1.1 " + status + b"\r\nx-amz-meta: 1\r\nx-amzn-remapped-date: d\r\nContent-Length: 4\r\n\r\npong"
        )
        pieces = explained(asked + answer)
        assert (named(pieces), meanings(pieces)) == ("", ["OtherAsked", None])
        rules = {rule for piece in pieces for rule in piece.rules}
        assert rules == {"FU-EVENT-1", "FU-EVENT-18", "FU-EVENT-19", "FU-HEAD-1", "FU-BODY-20", "FU-HEAD-9"}
        assert pieces[-1].what == f"answer {int(status[:3])} to: request to a function URL"

    def test_an_answer_of_a_function_url_alone(self) -> None:
        """It has an id, and nothing that Invoke alone has (IN-ANSWER-11, FU-HEAD-13); of 202 and 204 nobody knows."""
        fields = b"x-amz-meta: 1\r\nx-amzn-RequestId: 1\r\nX-Amzn-Trace-Id: 2\r\nContent-Length: 0\r\n\r\n"
        for status in (200, 404, 502):
            pieces = explained(b"HTTP/1.1 %d X\r\n" % status + fields)
            assert (pieces[-1].what, pieces[-1].value) == (f"answer {status} to: request to a function URL", None)
        assert explained(b"HTTP/1.1 202 X\r\n" + fields)[-1].what == "answer 202"
        invoke = b"HTTP/1.1 200 X\r\nX-Amz-Function-Error: Unhandled\r\n" + fields
        assert meanings(explained(invoke)) == ["InvokeAnswered"]

    def test_a_body_that_ends_with_its_connection(self) -> None:
        """All that follows is of it (RT-CONN-11)."""
        pieces = explained(b"HTTP/1.1 200 OK\r\n\r\na\nb\nHTTP/1.1")
        assert [piece.length for piece in pieces if piece.rules == ("RT-CONN-11",)] == [12]


class TestBare:
    """Bodies without their HTTP."""

    def test_event_stream(self) -> None:
        """Message by message, and an event without a name is skipped (ES-MESSAGE-6)."""
        pieces = explained(CHUNK + SKIPPED + COMPLETE, "event-stream")
        assert meanings(pieces) == ["PayloadChunk", "Signal", "InvokeComplete"]
        assert first(pieces, Verdict.INCOMPLETE) is None
        assert [(piece.offset, piece.length) for piece in pieces[:4]] == [(0, 12), (12, 90), (102, 2), (104, 4)]

    def test_chunked(self) -> None:
        """Chunk by chunk; with its prelude, where it has one."""
        data = encode_chunk(PRELUDE) + encode_chunk(b"hi") + encode_end()
        pieces = explained(data, "chunked")
        assert [piece.rules[0] for piece in pieces if piece.layer is Layer.CONTENT] == ["FU-PRELUDE-15", "FU-PRELUDE-3"]
        pieces = explained(encode_chunk(b"hi") + encode_end() + b"more", "chunked")
        assert [piece.verdict for piece in pieces][-1] is Verdict.UNREAD

    def test_prelude(self) -> None:
        """Metadata, delimiter, body."""
        pieces = explained(PRELUDE + b"\0hi", "prelude")
        assert [piece.length for piece in pieces] == [len(PRELUDE) - 8, 8, 3]
        assert [piece.length for piece in explained(PRELUDE, "prelude")] == [len(PRELUDE) - 8, 8]

    def test_an_error_document(self) -> None:
        """An object with an error type, which no prelude has (ER-DOC-1)."""
        data = b'{"errorMessage":"m","errorType":"E"}\n'
        assert recognise(data) == "json"
        (piece,) = explained(data, "json")
        assert piece.what.startswith("error document: ErrorPayload(")
        assert (piece.rules[0], piece.value) == ("ER-DOC-1", {"errorMessage": "m", "errorType": "E"})

    def test_other_json(self) -> None:
        """It is told what makes it no prelude, and breaks no rule by that; not even a status that is none does."""
        data = b'{"statusCode":700}'
        assert recognise(data) == "json"
        (piece,) = explained(data, "json")
        assert (piece.what, piece.rules) == ("JSON, and no prelude: one would end with 8 NUL bytes", ())
        assert [recognise(data + DELIMITER), recognise(data[:-1])] == ["prelude"] * 2


CRLF = b"\r\n"
BAD_BASE64 = b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
ENDED = b"0\r\nLambda-Runtime-Function-Error-Type: E\r\nLambda-Runtime-Function-Error-Body: e30\r\n\r\n"
ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"

#: A kind, a capture, the rule that it breaks, and where.
BROKEN: Final[list[tuple[str, bytes, str, int]]] = [
    ("http", STREAMED + CRLF + b"5\r\nhello\r\nZZ\r\n", "RS-CHUNK-1", len(STREAMED) + 2 + 10),
    ("http", STREAMED + CRLF + b"5\r\nhello!\r\n", "RS-CHUNK-1", len(STREAMED) + 2 + 8),
    ("http", STREAMED + BAD_BASE64 + CRLF + ENDED, "RS-TRAILER-2", len(STREAMED + BAD_BASE64) + 44),
    ("http", STREAMED + CRLF + ENDED, "RS-HEAD-3", len(STREAMED) + 5),
    ("http", b"GET /2018-06-01/%zz HTTP/1.1\r\nHost: x\r\n\r\n", "RT-PATH-5", 0),
    ("http", b"GET /2018-06-01/runtime/invocation/nxt HTTP/1.1\r\nHost: x\r\n\r\n", "RT-PATH-2", 0),
    ("http", ANSWERED + encode_chunk(CHUNK) + encode_end(), "ES-MESSAGE-12", len(ANSWERED) + 4 + len(CHUNK)),
    ("http", ANSWERED + encode_chunk(CHUNK[:50]) + encode_end(), "ES-FRAME-11", len(ANSWERED) + 4),
    (
        "http",
        ANSWERED + encode_chunk(CHUNK[:100]) + encode_chunk(CHUNK[100:-1] + b"x") + encode_chunk(CHUNK) + encode_end(),
        "ES-CRC-3",
        len(ANSWERED) + 4 + 100 + 2 + 3 + 4,
    ),
    ("event-stream", CHUNK + COMPLETE + CHUNK, "ES-MESSAGE-14", len(CHUNK + COMPLETE)),
    ("event-stream", CHUNK + message(":message-type", "news") + CHUNK, "ES-MESSAGE-31", len(CHUNK)),
    ("event-stream", CHUNK + b"\0\0\0\x10" * 4, "ES-CRC-2", len(CHUNK) + 8),
    ("prelude", b'{"headers":{},"statusCode":700}' + DELIMITER, "FU-PRELUDE-20", 14),
    ("prelude", b"{" + b" " * 20_000, "FU-PRELUDE-12", 16_384),
    ("prelude", b"{]" + DELIMITER, "FU-PRELUDE-3", 1),
    ("chunked", b"5\r\nhello\r\n5\nhello", "RS-CHUNK-1", 10),
    ("chunked", b"%x\r\n" % 16 + b'{"statusCode":0}' + CRLF + encode_chunk(DELIMITER), "FU-PRELUDE-20", 5),
]


@pytest.mark.parametrize(
    ("kind", "data", "rule", "offset"), BROKEN, ids=[f"{it[2]}-{n}" for n, it in enumerate(BROKEN)]
)
def test_a_violation_is_named_with_its_place(kind: str, data: bytes, rule: str, offset: int) -> None:
    """The offset is that in the capture, whatever is unwrapped to get there; the rest is told as unread."""
    assert recognise(data) == kind
    assert named(explained(data, kind)) == f"{rule} {offset}"


def test_a_prelude_that_the_answer_lacks() -> None:
    """The stream is complete, and so the prelude that its type announces is missing (FU-PRELUDE-3)."""
    typed = STREAMED + b"Content-Type: " + HTTP_INTEGRATION_RESPONSE.encode() + b"\r\n\r\n"
    assert named(explained(typed + encode_chunk(b"{}") + encode_end())) == f"FU-PRELUDE-3 {len(typed) + 5}"
    head = ANSWERED[:-2] + b"X-Amzn-Remapped-Content-Type: " + HTTP_INTEGRATION_RESPONSE.encode() + b"\r\n\r\n"
    answer = head + encode_chunk(CHUNK) + encode_chunk(COMPLETE) + encode_end()
    assert named(explained(answer)) == f"FU-PRELUDE-3 {answer.index(b'hi') + 2}"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("http", failed_stream()),
        ("http", streamed_answer()),
        ("event-stream", CHUNK + COMPLETE),
        ("prelude", PRELUDE),
        ("chunked", encode_chunk(PRELUDE) + encode_end((("a", "b"),))),
    ],
    ids=["stream", "streamed answer", "event-stream", "prelude", "chunked"],
)
def test_a_capture_that_ends_anywhere_breaks_no_rule(kind: str, data: bytes) -> None:
    """It is only told, and not where it ends between two messages."""
    whole = {len(data), data.find(b"HTTP/1.1 200")}
    for end in range(1, len(data)):
        pieces = explained(data[:end], kind)
        assert first(pieces) is None, end
        cut = first(pieces, Verdict.INCOMPLETE)
        assert (cut is None) is (end in whole), end
        assert cut is None or cut.what.startswith(f"ends at byte {end}, "), cut


def test_what_is_missing_is_said() -> None:
    """Where the part began, how large it is, and how much of it is missing."""
    data = STREAMED + CRLF + b"4000\r\n" + b"x" * 1000
    cut = first(explained(data), Verdict.INCOMPLETE)
    begun = len(STREAMED) + 2
    assert cut is not None
    assert cut.what == (
        f"ends at byte {len(data)}, inside the chunk of 16384 bytes begun at byte {begun}: 15384 of them are missing"
    )


KINDS: Final = ["http", "chunked", "prelude", "event-stream"]
SEEDS: Final = [
    failed_stream(),
    streamed_answer(),
    CHUNK + SKIPPED + COMPLETE,
    encode_chunk(PRELUDE) + encode_end(),
    PRELUDE,
    *[b"".join(step.data for step in capture.steps if step.party == "runtime")[:3000] for capture in CAPTURES[::8]],
]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS), kind=st.sampled_from(["http", "chunked", "prelude", "event-stream"]), edit=st.data()
)
def test_nothing_but_pieces_comes_of_any_bytes(seed: bytes, kind: str, edit: st.DataObject) -> None:
    """Whatever is broken, cut out or put in, as whatever it is read: no error, and no byte is left out."""
    data = bytearray(seed)
    for _ in range(edit.draw(st.integers(0, 3))):
        at = edit.draw(st.integers(0, len(data)))
        data[at : at + edit.draw(st.integers(0, 9))] = edit.draw(st.binary(max_size=9) | st.sampled_from(SEEDS))
    explained(bytes(data), kind)


# -- the command


def decode(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "lambda_wire", "decode", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60, env=environment())


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], str]:
    def write(data: bytes) -> str:
        path = tmp_path / "capture"
        path.write_bytes(data)
        return str(path)

    return write


def test_what_a_person_reads(file: Callable[[bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each piece, and the verdict."""
    ping = runtime(State.STARTED).send(PingAsked())
    assert main(["decode", file(ping)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "       0       31  GET /2018-06-01/ping HTTP/1.1\\r\\n     ping  RT-PING-1"
    assert lines[-2] == f"       0 {len(ping):>8}  = ping: PingAsked()  RT-PING-1"
    assert lines[-1] == f"no violation in {len(ping)} bytes"
    assert main(["decode", file(ping[:-2])]) == 0
    end = len(ping) - 2
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"no violation in {end} bytes; the capture ends at byte {end}, inside the head begun at byte 0"
    )


def test_a_violation_is_the_last_line_and_the_exit_code(
    file: Callable[[bytes], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where, which rule, what was expected and what came."""
    assert main(["decode", file(b"5\r\nhello\r\nZZ\r\n")]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "violation of RS-CHUNK-1 at byte 10: a chunk's size must be 1-16 hex digits, got b'ZZ'"
    assert main(["decode", file(b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: x\r\n\r\n")]) == 0
    capsys.readouterr()
    assert main(["decode", file(b"GET /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: x\r\n\r\n")]) == 1
    assert "violation of IN-PATH-1 at byte 0: " in capsys.readouterr().out.splitlines()[-1]


def test_what_a_machine_reads(file: Callable[[bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    """An object for each piece, and no other line."""
    assert main(["decode", "--json", file(b"5\r\nhello\r\nZZ\r\n")]) == 1
    chunk, fault, rest = map(json.loads, capsys.readouterr().out.splitlines())
    assert chunk == {
        "offset": 0,
        "length": 10,
        "layer": "wire",
        "verdict": "fine",
        "rules": ["RS-CHUNK-1"],
        "what": "chunk of 5 bytes",
        "value": 5,
    }
    assert (fault["verdict"], fault["offset"], fault["rules"]) == ("violation", 10, ["RS-CHUNK-1"])
    assert (rest["verdict"], rest["offset"], rest["length"]) == ("unread", 10, 4)
    header = EventStreamHeader(name="id", value=b"\xff", type=HeaderType.BYTE_ARRAY)
    data = encode_event_stream(EventStreamMessage(headers=(header,), payload=b"\xfe"))
    assert main(["decode", "--json", file(data)]) == 0
    assert [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()[1:3]] == [{"id": "ff"}, "fe"]


def test_standard_input_and_no_colour() -> None:
    """As a program at the end of a pipe."""
    run = decode("-", data=failed_stream())
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"\x1b" not in run.stdout
    assert run.stdout.isascii()
    assert max(map(len, run.stdout.splitlines())) <= 120


def test_what_cannot_command_a_terminal(file: Callable[[bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a peer sent."""
    data = HEAD + b"Content-Type: \x9b31m\xc2\x9b\r\nContent-Length: 0\r\n\r\n"
    main(["decode", file(data)])
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "cannot read 'nowhere': No such file or directory"),
        (["a\0b"], "cannot read 'a\\x00b': embedded null byte"),
        (["-"], "standard input is empty"),
        ([], "the following arguments are required: FILE"),
        (["--as", "pcap", "x"], "invalid choice: 'pcap'"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(SystemExit) as caught:
        main(["decode", *arguments])
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_what_is_not_recognised(file: Callable[[bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it tried, and takes a word for it."""
    with pytest.raises(SystemExit) as caught:
        main(["decode", file(b"GARBAGE\r\n\r\n")])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    for kind in ("http", "event-stream", "chunked", "json", "prelude", "transcript"):
        assert f"({kind})" in err
    assert err.endswith("say it with --as (see lambda-wire decode --help)\n")
    assert main(["decode", "--as", "http", file(b"GARBAGE\r\n\r\n")]) == 1
    assert "violation of RT-CONN-16 at byte 0: " in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["decode", "--as", "json", file(b"{")])
    assert caught.value.code == 2
    assert "as a json: expected JSON in UTF-8, got b'{'" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_what_is_closed_is_said(
    closed: str, file: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a program is started without it."""
    monkeypatch.setattr(sys, closed, None)
    with pytest.raises(SystemExit) as caught:
        main(["decode", "-" if closed == "stdin" else file(PRELUDE)])
    assert caught.value.code == 2
    assert "closed" in capsys.readouterr().err


def test_a_broken_pipe_is_quiet() -> None:
    """Whoever read our output has seen enough."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "lambda_wire", "decode", "-"]
    run = subprocess.run(
        command, input=PRELUDE, stdout=write_end, stderr=subprocess.PIPE, check=False, timeout=60, env=environment()
    )
    os.close(write_end)
    assert (run.returncode, run.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_output_that_cannot_be_written_is_one_line() -> None:
    """A full disk, such as it is."""
    command = [sys.executable, "-m", "lambda_wire", "decode", "-"]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            command, input=PRELUDE, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60, env=environment()
        )
    assert run.returncode == 1
    assert run.stderr == b"lambda-wire decode: standard output cannot be written: No space left on device\n"


def test_a_long_capture_costs_as_much_as_it_is_long() -> None:
    """A chunk of many lines is no more work than one of one line: it is read by its size."""
    data = STREAMED + CRLF + encode_chunk(b"\n" * 3_000_000) + encode_end()
    assert [piece.value for piece in explained(data) if piece.rules == ("RS-CHUNK-1",)] == [3_000_000]

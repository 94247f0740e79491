"""What a runtime asks and reports: what one end writes as header fields, the other reads as the same event."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire._asks import Request, decode_ask, decode_start, encode_ask
from lambda_wire._events import (
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    NextAsked,
    PingAsked,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
)
from lambda_wire._heads import field_line, join_request_head
from lambda_wire._http11 import MessageReader
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MessageEnd, RequestHead
from lambda_wire._routes import Match, match, route_of, target_of
from lambda_wire._signals import NEED_DATA, Role
from lambda_wire._types import Headers
from lambda_wire.testing import deliveries

#: Field values: any text that fits in a header line, no byte lost.
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\udc80\udcff"), max_size=20).map(
    lambda text: text.strip(" \t")
)
IDS = VALUES.filter(bool).map(lambda text: text.replace("/", "|"))
BODIES = st.binary(max_size=20)
MODES: list[Literal["streaming", "buffered"]] = ["streaming", "buffered"]
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.sampled_from([NextAsked(), RestoreAsked(), PingAsked()]),
    st.builds(BufferedResponse, request_id=IDS, payload=BODIES, content_type=VALUES, invocation_id=VALUES),
    st.builds(
        ResponseStarted,
        request_id=IDS,
        content_type=VALUES,
        invocation_id=VALUES,
        response_mode=st.sampled_from(MODES),
    ),
    st.builds(
        ErrorReported,
        request_id=IDS,
        error_type=VALUES,
        payload=BODIES,
        xray_cause=VALUES,
        content_type=VALUES,
        invocation_id=VALUES,
    ),
    st.builds(InitErrorReported, error_type=VALUES, payload=BODIES, xray_cause=VALUES, content_type=VALUES),
    st.builds(RestoreErrorReported, error_type=VALUES, payload=BODIES, content_type=VALUES),
)


def asked(event: Request) -> tuple[Headers, bytes]:
    """Return the fields and the payload of what is written."""
    lines, payload = encode_ask(event)
    assert not lines or lines.endswith("\r\n")
    fields = [line.partition(": ") for line in lines.split("\r\n")[:-1]]
    return tuple((name, value) for name, _, value in fields), payload


def decoded(ask: type, request_id: str, headers: Headers, payload: bytes) -> object:
    if ask is ResponseStarted:
        return decode_start(request_id, headers)
    return decode_ask(ask, request_id, headers, payload)


@given(REQUESTS)
def test_what_is_written_is_read(event: Request) -> None:
    """``decode(encode(x)) == x`` through names in lower case, as every reader gives them."""
    fields, payload = asked(event)
    headers = tuple((name.lower(), value) for name, value in fields)
    assert decoded(type(event), getattr(event, "request_id", ""), headers, payload) == event


@given(REQUESTS)
def test_what_is_sent_is_received_however_it_is_delivered(event: Request) -> None:
    """The same through a whole request: line, head and body, cut anywhere."""
    route = route_of(type(event))
    lines, payload = encode_ask(event)
    target = target_of(route, getattr(event, "request_id", ""))
    data = join_request_head(route.method, target, field_line("Host", "h") + lines) + payload
    data += b"0\r\n\r\n" if isinstance(event, ResponseStarted) else b""
    for pieces in deliveries(data):
        assert received(pieces, type(event)) == event


def received(pieces: list[bytes], ask: type) -> object:
    reader = MessageReader(Role.SERVER)
    head, body = None, b""
    for piece in pieces:
        reader.receive_data(piece)
        while (part := reader.next_event()) is not NEED_DATA and not isinstance(part, MessageEnd):
            if isinstance(part, RequestHead):
                head = part
            else:
                assert isinstance(part, bytes)
                body += part
    assert head is not None
    found = match(head.method, head.target)
    assert isinstance(found, Match)
    return decoded(ask, found.request_id, head.headers, body)


@pytest.mark.parametrize("event", [NextAsked(), RestoreAsked(), PingAsked()], ids=lambda event: type(event).__name__)
def test_a_question_has_no_fields_and_no_body(event: Request) -> None:
    """All that it says is its path."""
    assert asked(event) == ((), b"")


def test_a_stream_declares_its_trailers_before_it_needs_them() -> None:
    """A service may drop undeclared ones in silence, so both are declared always.

    (RS-HEAD-1, RS-HEAD-2, RS-HEAD-3, RT-CONN-23, UN-3)
    """
    fields, payload = asked(ResponseStarted(request_id="r", content_type="c/t", invocation_id="i"))
    assert payload == b""
    assert fields == (
        ("Content-Type", "c/t"),
        ("Lambda-Runtime-Function-Response-Mode", "streaming"),
        ("Lambda-Runtime-Invocation-Id", "i"),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"),
    )


def test_a_chunked_body_without_a_mode_is_a_buffered_response() -> None:
    """The mode is never written as ``buffered``: the service refuses that word (a36; RT-RESP-4)."""
    fields, _ = asked(ResponseStarted(request_id="r", response_mode="buffered"))
    assert not [name for name, _ in fields if name == "Lambda-Runtime-Function-Response-Mode"]
    assert decode_start("r", (("lambda-runtime-function-response-mode", ""),)).response_mode == "buffered"


def test_an_error_carries_all_that_it_knows() -> None:
    """Its body is counted, and goes out as it is (ER-DOC-4, ER-TYPE-1, ER-XRAY-1)."""
    payload = b'{"errorMessage":"x"}'
    event = ErrorReported(
        request_id="r", error_type="Function.X", payload=payload, xray_cause="{}", content_type="c/t", invocation_id="i"
    )
    assert asked(event) == (
        (
            ("Content-Type", "c/t"),
            ("Lambda-Runtime-Function-Error-Type", "Function.X"),
            ("Lambda-Runtime-Function-XRay-Error-Cause", "{}"),
            ("Lambda-Runtime-Invocation-Id", "i"),
            ("Content-Length", "20"),
        ),
        payload,
    )


def test_what_is_empty_is_left_out_but_the_length() -> None:
    """An empty response says so (``Content-Length: 0``); an invocation id is echoed exactly when there is one.

    (RT-RESP-9)
    """
    for event in (
        BufferedResponse(request_id="r", payload=b"", content_type=""),
        InitErrorReported(error_type="", payload=b"", content_type=""),
        RestoreErrorReported(error_type="", payload=b"", content_type=""),
    ):
        assert asked(event) == ((("Content-Length", "0"),), b"")


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("content-type", "content_type"),
        ("lambda-runtime-function-error-type", "error_type"),
        ("lambda-runtime-function-xray-error-cause", "xray_cause"),
        ("lambda-runtime-invocation-id", "invocation_id"),
    ],
)
def test_the_first_of_repeated_fields_wins(name: str, attribute: str) -> None:
    """As in Go's ``http.Header.Get`` (a62; RT-CONN-8)."""
    event = decode_ask(ErrorReported, "r", ((name, "one"), (name, "two")), b"")
    assert getattr(event, attribute) == "one"


@pytest.mark.parametrize("ask", [BufferedResponse, ErrorReported, InitErrorReported, RestoreErrorReported])
def test_a_report_without_any_field_is_still_a_report(ask: type) -> None:
    """Nothing of them is required (a11); what is missing is empty, and the body is taken as it is (a17, a24).

    (RT-INIT-3, ER-DOC-2)
    """
    event = decode_ask(ask, "r", (), b"\xff\x00")
    assert type(event) is ask
    shown = {"payload": b"\xff\x00", "content_type": "", "error_type": "", "xray_cause": "", "invocation_id": ""}
    assert {name: getattr(event, name, value) for name, value in shown.items()} == shown


@pytest.mark.parametrize(
    "ask", [BufferedResponse, ErrorReported, InitErrorReported, RestoreErrorReported, ResponseStarted]
)
def test_a_value_that_is_no_field_value_is_malformed(ask: type) -> None:
    """Whoever hands over such headers learns it from the event itself."""
    with pytest.raises(Malformed, match="content_type"):
        decoded(ask, "r", (("content-type", "a\r\nb: c"),), b"")


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            BufferedResponse(request_id="i", payload=b"", content_type="a/b"),
            "Content-Type: a/b\r\nContent-Length: 0\r\n",
        ),
        (
            ResponseStarted(request_id="i", content_type="a/b", response_mode="buffered"),
            (
                "Content-Type: a/b\r\nTransfer-Encoding: chunked\r\n"
                "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
            ),
        ),
    ],
)
def test_a_content_type_comes_first(event: Request, lines: str) -> None:
    """Of a response that is whole and of one that begins."""
    assert encode_ask(event) == (lines, b"")

"""The vocabulary: every event obeys the law of records, shows no payload, and refuses what cannot travel."""

from __future__ import annotations

import pickle
from typing import Any, get_args

import pytest

from lambda_wire import _events as events
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
    Violation,
    response_chunks,
)
from lambda_wire._malformed import Malformed

SECRET = "s3cret"
ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

#: Every event with every field given, none at its default; what must stay out of ``repr`` holds ``SECRET``.
FULL: dict[type, dict[str, Any]] = {  # Any: each event has fields of its own
    Accepted: {},
    BufferedResponse: {
        "request_id": ID,
        "payload": SECRET.encode(),
        "content_type": "text/plain",
        "invocation_id": "i-1",
    },
    ConnectionClosed: {},
    Continue: {},
    ContinueAsked: {},
    ErrorReported: {
        "request_id": ID,
        "error_type": "Runtime.Boom",
        "payload": SECRET.encode(),
        "xray_cause": SECRET,
        "content_type": "text/plain",
        "invocation_id": "i-1",
    },
    InitErrorReported: {
        "error_type": "Runtime.Boom",
        "payload": SECRET.encode(),
        "xray_cause": SECRET,
        "content_type": "text/plain",
    },
    Invocation: {
        "request_id": ID,
        "payload": SECRET.encode(),
        "deadline_ms": 1542409706888,
        "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        "client_context": SECRET,
        "cognito_identity": SECRET,
        "tenant_id": "tenant",
        "invocation_id": "i-1",
        "content_type": "text/plain",
        "headers": (("x-more", "1"),),
    },
    NextAsked: {},
    PingAsked: {},
    Pong: {},
    Refused: {"status": 405, "error_type": "E", "error_message": "m", "allow": "POST"},
    ResponseChunk: {"data": SECRET.encode()},
    ResponseFailed: {"error_type": "Runtime.Boom", "error_body": SECRET.encode()},
    ResponseFinished: {},
    ResponseStarted: {
        "request_id": ID,
        "content_type": "text/plain",
        "invocation_id": "i-1",
        "response_mode": "buffered",
    },
    RestoreAsked: {},
    RestoreErrorReported: {"error_type": "Runtime.Boom", "payload": SECRET.encode(), "content_type": "text/plain"},
    RestoreReady: {},
    Violation: {"reply": Refused(status=403)},
}

#: Every field that travels as a header value, and so may not break one.
HEADER_FIELDS = [
    (kind, name)
    for kind, values in FULL.items()
    for name, value in values.items()
    if isinstance(value, str) and name != "response_mode" and (kind is not Refused or name == "allow")
]

every_event = pytest.mark.parametrize("kind", FULL, ids=lambda kind: kind.__name__)


def full(kind: Any, **other: object) -> Any:
    return kind(**(FULL[kind] | other))


def test_this_is_the_whole_vocabulary() -> None:
    """Every event is listed here, in ``__all__`` and in ``Event``."""
    assert set(get_args(events.Event)) == set(FULL)
    assert set(events.__all__) == {kind.__name__ for kind in FULL} | {"Answer", "Ask", "Event"}
    assert set(get_args(events.Ask)) & set(get_args(events.Answer)) == set()


@every_event
class TestEvery:
    """The law of records holds for each event."""

    def test_keeps_what_it_is_given(self, kind: type) -> None:
        """Every field, as it was given."""
        for name, value in FULL[kind].items():
            assert getattr(full(kind), name) == value

    def test_is_frozen(self, kind: type) -> None:
        """Facts do not change."""
        event = full(kind)
        for name in (*FULL[kind], "stranger"):
            with pytest.raises(AttributeError, match="frozen"):
                setattr(event, name, None)
            with pytest.raises(AttributeError, match="frozen"):
                delattr(event, name)

    def test_is_slotted(self, kind: type) -> None:
        """It has exactly the fields that are listed here."""
        assert not hasattr(full(kind), "__dict__")
        assert set(kind.__dict__["__slots__"]) == set(FULL[kind])

    def test_is_keyword_only(self, kind: Any) -> None:
        """No value by its place, no unknown name."""
        with pytest.raises(TypeError):
            kind(*FULL[kind].values(), "more")
        with pytest.raises(TypeError, match="unexpected keyword argument 'stranger'"):
            full(kind, stranger=1)

    def test_is_final(self, kind: type) -> None:
        """No subclasses."""
        with pytest.raises(TypeError, match="final"):
            type("Child", (kind,), {})

    def test_is_equal_by_value(self, kind: type) -> None:
        """Also as a key, and after a journey between processes."""
        event = full(kind)
        assert event == full(kind)
        assert len({event, full(kind)}) == 1
        assert pickle.loads(pickle.dumps(event)) == event
        assert all(event != full(other) for other in FULL if other is not kind)

    def test_differs_in_every_field(self, kind: type) -> None:
        """Hidden fields too."""
        others = {str: "other", bytes: b"other", int: 500, tuple: (), Refused: Refused(status=500)}
        for name, value in FULL[kind].items():
            other = "streaming" if name == "response_mode" else others[type(value)]
            assert full(kind) != full(kind, **{name: other})

    def test_shows_no_payload(self, kind: type) -> None:
        """A log line of a 6 MB event stays a line."""
        assert SECRET not in repr(full(kind))
        assert repr(full(kind)).startswith(f"{kind.__name__}(")


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", " a", "a ", "\ta", "a\t", "\r\nX: y", "a\x01b", "a\x7fb"])
@pytest.mark.parametrize(("kind", "name"), HEADER_FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_header_values_cannot_break_a_head(kind: type, name: str, bad: str) -> None:
    """RFC 9110, 5.5: no control characters or outer blanks; the message names the field."""
    with pytest.raises(Malformed, match=name):
        full(kind, **{name: bad})


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "\u00e9", "content-length", "X-Foo", "lambda-runtime-trace-id", "date"]
)
def test_other_headers_cannot_reframe_the_message(name: str) -> None:
    """A name that is no token, or frames the message, would change what the rest of it means (RFC 9110, 5.1)."""
    with pytest.raises(Malformed, match="header"):
        full(Invocation, headers=((name, "1"),))


@pytest.mark.parametrize(
    "bad", [None, [], [("a", "b")], {"a": "b"}, "ab", (["a", "b"],), ("ab",), (("a",),), (("a", "b", "c"),), (1,)]
)
def test_other_headers_are_pairs(bad: object) -> None:
    """In a tuple, and each a tuple: what can change later is no part of a record."""
    with pytest.raises(Malformed, match="header"):
        full(Invocation, headers=bad)


def test_a_failed_stream_names_its_error() -> None:
    """Without a type the service takes the stream for complete (RS-TRAILER-3)."""
    with pytest.raises(Malformed, match="error_type"):
        ResponseFailed(error_type="", error_body=b"")


def test_the_fields_that_are_header_values() -> None:
    """The list above is not empty by accident."""
    assert len(HEADER_FIELDS) == 26


@pytest.mark.parametrize("value", ["", "a b", 'a\tb; n="\\é漢"', "\udcff"])
def test_header_values_may_be_anything_else(value: str) -> None:
    """Inner blanks, every alphabet, bytes that are no UTF-8."""
    assert full(Invocation, client_context=value).client_context == value


@pytest.mark.parametrize("kind", [BufferedResponse, ResponseStarted, ErrorReported, Invocation])
def test_a_request_id_is_not_empty(kind: type) -> None:
    """It is a part of the answer's path (RT-NEXT-5)."""
    with pytest.raises(Malformed, match="request_id"):
        full(kind, request_id="")


def test_a_response_mode_is_one_of_two() -> None:
    """The service refuses every other spelling (case a36_response_mode_case)."""
    assert full(ResponseStarted, response_mode="streaming").response_mode == "streaming"
    with pytest.raises(Malformed, match="response_mode"):
        full(ResponseStarted, response_mode="Streaming")


def test_a_chunk_is_not_empty() -> None:
    """It would end the stream (RFC 9112, 7.1)."""
    with pytest.raises(Malformed, match="at least one byte"):
        ResponseChunk(data=b"")


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", " a"])
def test_unnamed_headers_are_header_values_too(value: str) -> None:
    """What this version has no name for must travel all the same."""
    with pytest.raises(Malformed, match="x-more"):
        full(Invocation, headers=(("a", "b"), ("x-more", value)))


@pytest.mark.parametrize("status", [0, 200, 202, 399, 600])
def test_a_refusal_refuses(status: int) -> None:
    """Its status is 400 to 599."""
    with pytest.raises(Malformed, match="400 to 599"):
        Refused(status=status)


@pytest.mark.parametrize("status", [400, 599])
def test_every_refusal_can_be_said(status: int) -> None:
    """Both ends of the range; its texts travel in a body and may hold anything."""
    assert Refused(status=status, error_type="\0", error_message="a\r\nb").status == status


@pytest.mark.parametrize("name", ["error_type", "error_message"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (5, "a string, got int"),
        (None, "a string"),
        (b"E", "a string"),
        ("\ud800", "encodable"),
        ("a\udcff", "encodable"),
    ],
)
def test_the_texts_of_a_refusal_arrive(name: str, bad: object, reason: str) -> None:
    """What is no text would leave as another value, or not at all."""
    with pytest.raises(Malformed, match=f"^{name} must be {reason}"):
        full(Refused, **{name: bad})


def test_defaults_are_what_the_wire_means_by_nothing() -> None:
    """Absent headers are empty; JSON is buffered, a stream is octets (ER-DOC-5)."""
    assert Invocation(request_id="1", payload=b"").deadline_ms is None
    assert Invocation(request_id="1", payload=b"").headers == ()
    assert BufferedResponse(request_id="1", payload=b"").content_type == "application/json"
    assert ResponseStarted(request_id="1").content_type == "application/octet-stream"
    assert ResponseStarted(request_id="1").response_mode == "streaming"
    assert ErrorReported(request_id="1", error_type="", payload=b"").xray_cause == ""
    assert ErrorReported(request_id="1", error_type="", payload=b"").content_type == "application/json"


@pytest.mark.parametrize("bad", ["text", bytearray(b"x"), memoryview(b"x"), None])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, fields in FULL.items() for name, value in fields.items() if isinstance(value, bytes)],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_payloads_are_bytes(kind: type, name: str, bad: object) -> None:
    """What only looks like bytes could be announced with one length and sent with another."""
    with pytest.raises(Malformed, match="must be bytes"):
        full(kind, **{name: bad})


def test_a_deadline_is_a_time() -> None:
    """There is nothing before the epoch."""
    for wrong in (-1, 10**19, 1.5, "5", True):
        with pytest.raises(Malformed, match="deadline_ms"):
            full(Invocation, deadline_ms=wrong)


def test_other_headers_are_pairs_that_do_not_change() -> None:
    """A list could change after it was looked at, and what speaks of the connection would not arrive."""
    for wrong in ([("x-a", "b")], (("keep-alive", "timeout=5"),), (("content-length", "5"),), (("X-A", "b"),)):
        with pytest.raises(Malformed, match="header"):
            full(Invocation, headers=wrong)


class TestResponseChunks:
    """Many at once are what they would be one by one."""

    def test_equal(self) -> None:
        """And as frozen."""
        made = response_chunks((b"a", b"bc"))
        assert made == [ResponseChunk(data=b"a"), ResponseChunk(data=b"bc")]
        with pytest.raises(AttributeError):
            made[0].data = b"x"  # type: ignore[misc]  # it is frozen
        assert response_chunks(()) == []

    @pytest.mark.parametrize("wrong", [b"", bytearray(b"x"), None])
    def test_the_same_door(self, wrong: Any) -> None:
        """What one may not hold, none of many may."""
        with pytest.raises(Malformed):
            response_chunks((b"a", wrong))

    def test_the_same_words(self) -> None:
        """What came is said."""
        with pytest.raises(Malformed, match=r"^data must be bytes, got bytearray$"):
            response_chunks((b"a", bytearray(b"x")))  # type: ignore[arg-type]  # the check under test


@pytest.mark.parametrize(("kind", "name"), HEADER_FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_a_message_begins_with_the_field(kind: type, name: str) -> None:
    """As it is called in the event; and what may stand in a field may stand in this one."""
    with pytest.raises(Malformed, match=f"^{name} must be a header value"):
        full(kind, **{name: "a\n"})
    assert getattr(full(kind, **{name: "a b"}), name) == "a b"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, fields in FULL.items() for name, value in fields.items() if isinstance(value, bytes)],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_a_message_begins_with_the_payload(kind: type, name: str) -> None:
    """As it is called in the event."""
    with pytest.raises(Malformed, match=f"^{name} must be bytes, got list$"):
        full(kind, **{name: []})


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (Invocation, {"headers": (("a b", ""),)}, "the name of a header must be a token in lower case, got 'a b'"),
        (
            Invocation,
            {"headers": (("X-A", ""),)},
            "the name of a header must be a token in lower case, got 'X-A'",
        ),
        (Invocation, {"deadline_ms": -1}, "deadline_ms must be an integer from 0 to 9999999999999999999, got -1"),
        (Invocation, {"request_id": ""}, "request_id must not be empty: it is the path of the answer"),
        (Invocation, {"headers": []}, "headers must be a tuple of pairs, got list"),
        (ResponseStarted, {"response_mode": "x"}, "response_mode must be 'streaming' or 'buffered', got 'x'"),
        (ResponseChunk, {"data": b""}, "a chunk must hold at least one byte: an empty chunk ends the stream"),
        (
            ResponseFailed,
            {"error_type": ""},
            "error_type must not be empty: without it the service takes the stream for complete",
        ),
        (Refused, {"status": 200}, "the status of a refusal must be an integer from 400 to 599, got 200"),
    ],
)
def test_messages(kind: type, wrong: dict[str, object], message: str) -> None:
    """Expected, got."""
    with pytest.raises(Malformed) as caught:
        full(kind, **wrong)
    assert str(caught.value) == message

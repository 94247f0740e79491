"""The vocabulary of callers: every event obeys the law of records, shows no payload, and refuses what cannot travel."""

from __future__ import annotations

import pickle
from typing import Any, get_args

import pytest

from lambda_wire import _invoke_events as events
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    InvokeViolation,
    OtherAsked,
    PayloadChunk,
    is_error_type,
)
from lambda_wire._malformed import Malformed

SECRET = "s3cret"
REFUSED = InvokeRefused(status=404, error_type="ResourceNotFoundException")

#: Every event with every field given, none at its default; what must stay out of ``repr`` holds ``SECRET``.
FULL: dict[type, dict[str, Any]] = {  # Any: each event has fields of its own
    InvokeAsked: {
        "function_name": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "payload": SECRET.encode(),
        "streaming": True,
        "qualifier": "1",
        "invocation_type": "Event",
        "log_type": "Tail",
        "client_context": SECRET,
        "tenant_id": "tenant",
        "trace_id": "Root=1-2-3",
        "headers": (("authorization", SECRET),),
    },
    OtherAsked: {
        "method": "PUT",
        "target": "/a?b",
        "headers": (("cookie", SECRET),),
        "body": SECRET.encode(),
        "http_version": "1.0",
    },
    InvokeAnswered: {
        "payload": SECRET.encode(),
        "status": 202,
        "content_type": "text/plain",
        "function_error": "Unhandled",
        "log_result": SECRET,
        "executed_version": "$LATEST",
        "request_id": "id",
        "trace_id": "Root=1-2-3",
        "headers": (("x-more", "1"),),
    },
    InvokeAccepted: {
        "content_type": "text/plain",
        "executed_version": "$LATEST",
        "request_id": "id",
        "trace_id": "Root=1-2-3",
        "headers": (("x-more", "1"),),
    },
    PayloadChunk: {"payload": SECRET.encode()},
    InvokeComplete: {"error_code": "E", "error_details": SECRET, "log_result": SECRET},
    InvokeFailed: {"error_code": "E", "message": "m"},
    InvokeRefused: {
        "status": 404,
        "error_type": "ResourceNotFoundException",
        "message": "m",
        "request_id": "id",
        "headers": (("retry-after", SECRET),),
    },
    InvokeViolation: {"reply": REFUSED},
}
ANSWERS = {kind for kind in FULL if kind not in (InvokeAsked, OtherAsked, InvokeViolation)}

#: Those that are written, by what they travel in.
SAID: dict[type, dict[str, Any]] = {
    kind: values for kind, values in FULL.items() if kind not in (OtherAsked, InvokeViolation)
}
TEXTS = [(kind, name) for kind, values in SAID.items() for name, value in values.items() if isinstance(value, str)]
IN_A_DOCUMENT = {"error_code", "error_details", "message"}
HEADER_FIELDS = [
    (kind, name)
    for kind, name in TEXTS
    if name not in IN_A_DOCUMENT | {"function_name", "qualifier"} and (kind, name) != (InvokeComplete, "log_result")
]

every_event = pytest.mark.parametrize("kind", FULL, ids=lambda kind: kind.__name__)


def name_of(part: Any) -> Any:
    return getattr(part, "__name__", part)


def full(kind: Any, **other: object) -> Any:
    return kind(**(FULL[kind] | other))


def test_this_is_the_whole_vocabulary() -> None:
    """Every event is listed here, in ``__all__``, and every answer in ``InvokeAnswer``."""
    assert set(events.__all__) - {"InvokeAnswer"} == {kind.__name__ for kind in FULL}
    assert set(get_args(events.InvokeAnswer)) == ANSWERS


@every_event
class TestEvery:
    """The law of records holds for each event."""

    def test_keeps_what_it_is_given(self, kind: type) -> None:
        """Every field, as it was given, and no other."""
        for name, value in FULL[kind].items():
            assert getattr(full(kind), name) == value
        assert set(kind.__dict__["__slots__"]) == set(FULL[kind])

    def test_is_frozen(self, kind: type) -> None:
        """Facts do not change."""
        for name in FULL[kind]:
            with pytest.raises(AttributeError, match="frozen"):
                setattr(full(kind), name, None)

    def test_is_equal_by_value(self, kind: type) -> None:
        """Also as a key, and after a journey between processes."""
        event = full(kind)
        assert event == full(kind)
        assert len({event, full(kind)}) == 1
        assert pickle.loads(pickle.dumps(event)) == event
        assert all(event != full(other) for other in FULL if other is not kind)

    def test_shows_no_payload(self, kind: type) -> None:
        """A log line of a 6 MB event stays a line, and holds no signature."""
        assert SECRET not in repr(full(kind))
        assert repr(full(kind)).startswith(f"{kind.__name__}(")


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", " a", "a ", "\ta", "a\t", "\r\nX: y", "a\x01b", "a\x7fb"])
@pytest.mark.parametrize(("kind", "name"), HEADER_FIELDS, ids=name_of)
def test_header_values_cannot_break_a_head(kind: type, name: str, bad: str) -> None:
    """RFC 9110, 5.5: no control characters or outer blanks; the message names the field."""
    with pytest.raises(Malformed, match=name):
        full(kind, **{name: bad})


def test_the_fields_that_are_header_values() -> None:
    """The list above is not empty by accident."""
    assert len(HEADER_FIELDS) == 17


@pytest.mark.parametrize("bad", [None, 1, b"a", ["a"], True])
@pytest.mark.parametrize(("kind", "name"), TEXTS, ids=name_of)
def test_text_is_text(kind: type, name: str, bad: object) -> None:
    """Any other type is refused at birth, and not where it is written."""
    with pytest.raises(Malformed, match=name):
        full(kind, **{name: bad})


@pytest.mark.parametrize(("kind", "name"), TEXTS, ids=name_of)
def test_text_can_be_encoded(kind: type, name: str) -> None:
    """A surrogate that stands for nothing cannot travel, wherever the text does."""
    with pytest.raises(Malformed, match=name):
        full(kind, **{name: "a\ud800"})


@pytest.mark.parametrize("name", ["function_name", "qualifier", "client_context"])
def test_what_is_not_copied_from_a_header_is_utf_8(name: str) -> None:
    """Bytes that are none cannot be said where text is encoded a second time."""
    with pytest.raises(Malformed, match=name):
        full(InvokeAsked, **{name: "\udcff"})
    assert full(InvokeAsked, tenant_id="\udcff").tenant_id == "\udcff"


@pytest.mark.parametrize("name", ["function_name", "invocation_type", "log_type"])
def test_what_a_call_always_has(name: str) -> None:
    """Nothing else can be read from a request that leaves it out."""
    with pytest.raises(Malformed, match=f"{name} must not be empty"):
        full(InvokeAsked, **{name: ""})


@pytest.mark.parametrize("bad", ["text", bytearray(b"x"), memoryview(b"x"), None, 5, [1]])
@pytest.mark.parametrize("kind", [InvokeAsked, InvokeAnswered, PayloadChunk])
def test_payloads_are_bytes(kind: type, bad: object) -> None:
    """What only looks like bytes could be announced with one length and sent with another."""
    with pytest.raises(Malformed, match="payload must be bytes"):
        full(kind, payload=bad)


@pytest.mark.parametrize("bad", [0, 1, None, "yes"])
def test_streaming_is_a_truth(bad: object) -> None:
    """What only counts as true would not be equal to what arrives."""
    with pytest.raises(Malformed, match="streaming must be a bool"):
        full(InvokeAsked, streaming=bad)


@pytest.mark.parametrize("bad", [0, 100, 199, 300, 404, "200", True, 200.0, None])
def test_an_answer_succeeds(bad: object) -> None:
    """Its status is 200-299, and a number."""
    with pytest.raises(Malformed, match="status from 200 to 299"):
        full(InvokeAnswered, status=bad)


@pytest.mark.parametrize("bad", [0, 200, 299, 600, "404", True, 404.0, None])
def test_a_refusal_refuses(bad: object) -> None:
    """Its status is 300-599, and a number."""
    with pytest.raises(Malformed, match="status from 300 to 599"):
        full(InvokeRefused, status=bad)

    with pytest.raises(Malformed, match="got a huge int"):
        full(InvokeRefused, status=10**5000)


def test_what_has_no_body_says_nothing_in_it() -> None:
    """204 and 304 have none (RFC 9110, 6.4.1): it would be lost."""
    assert full(InvokeAnswered, status=204, payload=b"").status == 204
    with pytest.raises(Malformed, match="status 204 has no payload"):
        full(InvokeAnswered, status=204)
    assert full(InvokeRefused, status=304, message="").status == 304
    with pytest.raises(Malformed, match="status 304 has no message"):
        full(InvokeRefused, status=304)


@pytest.mark.parametrize("bad", ["a b", "A:http://b", "ns#A", "\u00e9", "a\nb", ":"])
def test_an_error_type_is_a_name(bad: str) -> None:
    """What stands around a name on the wire is not part of it, so it cannot be said."""
    assert not is_error_type(bad)
    with pytest.raises(Malformed, match="error_type must be a name"):
        full(InvokeRefused, error_type=bad)


def test_an_error_type_may_be_missing() -> None:
    """A proxy's refusal has none."""
    assert full(InvokeRefused, error_type="").error_type == ""
    assert is_error_type("TooManyRequestsException")


WITH_HEADERS = pytest.mark.parametrize("kind", [InvokeAsked, InvokeAnswered, InvokeAccepted, InvokeRefused])


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a:b", "\u00e9", "X-Foo", "content-length", "transfer-encoding", "connection", "host", "expect", "date",
     "content-type", "x-amz-client-context", "x-amz-function-error", "x-amzn-trace-id", "x-amzn-errortype", None, 1],
)  # fmt: skip
@WITH_HEADERS
def test_other_headers_cannot_reframe_the_message(kind: type, name: object) -> None:
    """A name that is no token, frames the message or has a field would change what the rest of it means."""
    with pytest.raises(Malformed, match="header"):
        full(kind, headers=((name, "1"),))


@pytest.mark.parametrize("bad", [None, [], [("a", "b")], {"a": "b"}, "ab", (["a", "b"],), ("ab",), (("a",),), (1,)])
@WITH_HEADERS
def test_other_headers_are_pairs(kind: type, bad: object) -> None:
    """In a tuple, and each a tuple: what can change later is no part of a record."""
    with pytest.raises(Malformed, match="header"):
        full(kind, headers=bad)


@pytest.mark.parametrize("bad", ["a\rb", "a\0b", " a", None, 1])
@WITH_HEADERS
def test_other_headers_are_header_values(kind: type, bad: object) -> None:
    """What this version has no name for must travel all the same."""
    with pytest.raises(Malformed, match="x-more"):
        full(kind, headers=(("a", "b"), ("x-more", bad)))


def test_a_request_may_be_named_by_its_caller() -> None:
    """An answer has a field for it, and would have two names."""
    named = (("x-amzn-requestid", "id"),)
    assert full(InvokeAsked, headers=named).headers == named
    for kind in (InvokeAnswered, InvokeAccepted, InvokeRefused):
        with pytest.raises(Malformed, match="x-amzn-requestid"):
            full(kind, headers=named)


def test_defaults_are_what_the_wire_means_by_nothing() -> None:
    """Absent fields are empty; a call waits for its answer and asks for no log; an answer is JSON."""
    asked = InvokeAsked(function_name="f")
    assert (asked.payload, asked.streaming, asked.invocation_type, asked.log_type) == (
        b"", False, "RequestResponse", "None",
    )  # fmt: skip
    assert (InvokeAnswered().status, InvokeAnswered().content_type) == (200, "application/json")
    assert InvokeComplete() == InvokeComplete(error_code="", error_details="", log_result="")


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (InvokeAsked, {"streaming": 1}, "streaming must be a bool, got int"),
        (InvokeAsked, {"headers": []}, "headers must be a tuple of pairs, got list"),
        (InvokeAsked, {"headers": ("ab",)}, "a header must be a pair of name and value, got 'ab'"),
        (
            InvokeAsked,
            {"headers": (("X-A", ""),)},
            "the name of a header must be a token in lower case, got 'X-A'",
        ),
        (InvokeRefused, {"error_type": "a:b"}, "error_type must be a name such as ServiceException, got 'a:b'"),
    ],
)
def test_messages(kind: Any, wrong: dict[str, object], message: str) -> None:
    """Expected, got."""
    least: dict[str, object] = {"function_name": "f"} if kind is InvokeAsked else {"status": 599}
    with pytest.raises(Malformed) as caught:
        kind(**(least | wrong))
    assert str(caught.value) == message


def test_the_last_status() -> None:
    """It is one of the range."""
    assert InvokeRefused(status=599).status == 599
    assert InvokeAnswered(status=299, payload=b"").status == 299

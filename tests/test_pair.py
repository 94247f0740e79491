"""Every conversation as a pair: what one end sends is what the other end hears, equal by ``==``, in every delivery."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_wire._answers import encode_answer
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Answer,
    Ask,
    BufferedResponse,
    ConnectionClosed,
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
)
from lambda_wire._lifecycle import ManagedLifecycle, StandardLifecycle
from lambda_wire._limits import MAX_PAYLOAD
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._types import Headers
from lambda_wire.testing import deliveries

Line = tuple[Ask, Answer | None]
"""What the runtime says, and what the service answers; nothing yet to the parts of a stream."""

INVOCATION = Invocation(
    request_id="8476a536-e9f4-11e8-9739-2dfe598c3fcd",
    payload=b'{"key":"value"}',
    deadline_ms=1542409706888,
    invoked_function_arn="arn:aws:lambda:us-east-2:123456789012:function:custom-runtime",
    trace_id="Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    client_context='{"custom":{"ключ":"☃"}}',
    cognito_identity='{"cognitoIdentityId":"i"}',
    tenant_id="tenant",
    invocation_id="attempt",
    headers=(("traceparent", "00-1-2-00"), ("traceparent", "twice"), ("x-empty", "")),
)
ID = INVOCATION.request_id
ERROR = ErrorReported(
    request_id=ID, error_type="Function.E", payload=b"{}", xray_cause='{"é":1}', invocation_id="attempt"
)
RESPONSE = BufferedResponse(request_id=ID, payload=b"\0\xff[]", invocation_id="attempt")
STREAM = ResponseStarted(request_id=ID, content_type="text/plain", invocation_id="attempt")
POLL: Line = (NextAsked(), INVOCATION)
REFUSED = Refused(status=413, error_type="RequestEntityTooLarge", error_message="<too> & large\u2028é")

CONVERSATIONS: dict[str, list[Line]] = {
    "two invocations": [POLL, (RESPONSE, Accepted()), POLL, (ERROR, Accepted()), POLL],
    "a poll that is repeated": [POLL, POLL, (RESPONSE, Accepted())],
    "a stream": [
        POLL,
        (STREAM, None),
        (ResponseChunk(data=b"a"), None),
        (ResponseChunk(data=b"0\r\n\r\n"), None),
        (ResponseChunk(data=b"x" * 65_536), None),
        (ResponseFinished(), Accepted()),
        POLL,
    ],
    "an empty stream": [POLL, (STREAM, None), (ResponseFinished(), Accepted()), POLL],
    "a stream that fails": [
        POLL,
        (STREAM, None),
        (ResponseChunk(data=b"a"), None),
        (ResponseFailed(error_type="Function.É", error_body=b'{"errorMessage":"\\u0000"}'), Accepted()),
        POLL,
    ],
    "a stream that fails without a type": [
        POLL,
        (STREAM, None),
        (ResponseFailed(error_type="E", error_body=b""), Accepted()),
    ],
    "a buffered response in chunks": [
        POLL,
        (ResponseStarted(request_id=ID, content_type="", response_mode="buffered"), None),
        (ResponseChunk(data=b"a"), None),
        (ResponseFinished(), Accepted()),
    ],
    "refusals": [
        POLL,
        (RESPONSE, REFUSED),
        POLL,
        (STREAM, None),
        (ResponseFinished(), REFUSED),
        POLL,
        (ERROR, REFUSED),
    ],
    "a poll that is refused": [(NextAsked(), Refused(status=500, error_type="InternalServerError", error_message="x"))],
    "a start that fails": [(InitErrorReported(error_type="Runtime.E", payload=b"{}", xray_cause="{}"), Accepted())],
    "a snapshot": [(RestoreAsked(), RestoreReady()), POLL, (RESPONSE, Accepted())],
    "a snapshot that fails": [
        (RestoreAsked(), RestoreReady()),
        (RestoreErrorReported(error_type="Runtime.E", payload=b"{}"), Accepted()),
    ],
    "no snapshots here": [(RestoreAsked(), Refused(status=404, error_message="404 page not found")), POLL],
    "a ping in between": [
        (PingAsked(), Pong()),
        POLL,
        (PingAsked(), Pong()),
        (RESPONSE, Accepted()),
        (PingAsked(), Pong()),
    ],
    "an odd id": [
        (NextAsked(), Invocation(request_id="a b%20/é\udcff", payload=b"")),
        (PingAsked(), Pong()),
    ],
}


def pair() -> tuple[RuntimeConnection, ServiceConnection]:
    """Return both ends of a connection, each with a lifecycle of its own."""
    runtime = RuntimeConnection(host="127.0.0.1:9001", lifecycle=StandardLifecycle(snap_start=True))
    return runtime, ServiceConnection(StandardLifecycle(snap_start=True))


def events(
    receive_data: Callable[[bytes], None], next_event: Callable[[], object], pieces: list[bytes]
) -> list[object]:
    """Return what one end hears of one delivery."""
    heard: list[object] = []
    for data in pieces:
        receive_data(data)
        while not isinstance(event := next_event(), Signal):
            heard.append(event)
            if isinstance(event, ConnectionClosed):
                break
    return heard


def converse(lines: list[Line], delivery: int) -> None:
    """Hold a conversation; see that each end hears exactly what the other said."""
    runtime, service = pair()

    def cut(data: bytes) -> list[bytes]:
        return [data] if delivery == 1 and len(data) > 10_000 else list(deliveries(data))[delivery]

    for ask, answer in lines:
        assert events(service.receive_data, service.next_event, cut(runtime.send(ask))) == [ask]
        assert service.turn is runtime.turn
        if answer is not None:
            assert events(runtime.receive_data, runtime.next_event, cut(service.send(answer))) == [answer]
            assert service.turn is runtime.turn
    assert runtime.must_close is service.must_close is False
    assert events(service.receive_data, service.next_event, [b""]) == [ConnectionClosed()]
    assert events(runtime.receive_data, runtime.next_event, [b""]) == [ConnectionClosed()]


@pytest.mark.parametrize("delivery", range(5))
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(name: str, delivery: int) -> None:
    """What ``send`` takes is what ``next_event`` gives, both ways."""
    converse(CONVERSATIONS[name], delivery)


@pytest.mark.parametrize("size", [0, 2048, 2049, MAX_PAYLOAD])
def test_sizes(size: int) -> None:
    """Up to the largest payload (LI-PAYLOAD-1, LI-EVENT-2)."""
    invocation = Invocation(request_id="id", payload=b"e" * size)
    converse([(NextAsked(), invocation), (BufferedResponse(request_id="id", payload=b"r" * size), Accepted())], 0)


def test_one_byte_too_many() -> None:
    """413, and the runtime goes on, on the same connection (LI-PAYLOAD-1)."""
    runtime, service = pair()
    invocation = Invocation(request_id="id", payload=b"")
    events(service.receive_data, service.next_event, [runtime.send(NextAsked())])
    events(runtime.receive_data, runtime.next_event, [service.send(invocation)])
    wire = runtime.send(BufferedResponse(request_id="id", payload=bytes(MAX_PAYLOAD + 1)))
    (violation,) = events(service.receive_data, service.next_event, [wire])
    assert isinstance(violation, Violation)
    assert events(runtime.receive_data, runtime.next_event, [service.send(violation.reply)]) == [violation.reply]
    assert (violation.reply.status, violation.reply.error_type) == (413, "RequestEntityTooLarge")
    assert events(service.receive_data, service.next_event, [runtime.send(NextAsked())]) == [NextAsked()]


@pytest.mark.parametrize("answer", [REFUSED, Refused(status=410, error_type="InvokeTimeout"), None])
@pytest.mark.parametrize("delivery", range(5))
def test_early_answers(answer: Refused | None, delivery: int) -> None:
    """What the service says, or does not say, while the stream is being sent; then both ends are done."""
    runtime, service = pair()
    events(service.receive_data, service.next_event, [runtime.send(NextAsked())])
    events(runtime.receive_data, runtime.next_event, [service.send(INVOCATION)])
    wire = runtime.send(STREAM) + runtime.send(ResponseChunk(data=b"a"))
    assert events(service.receive_data, service.next_event, list(deliveries(wire))[delivery])[0] == STREAM
    said = list(deliveries(service.send(answer)))[delivery] if answer else []
    heard = events(runtime.receive_data, runtime.next_event, [*said, b""])
    assert heard == [*([answer] if answer else []), ConnectionClosed()]
    assert runtime.must_close
    assert service.must_close is (answer is not None)


@pytest.mark.parametrize("delivery", range(5))
def test_an_early_acceptance(delivery: int) -> None:
    """RS-END-3: our service does not say it. Of another one it is heard, and no request follows (RS-EARLY-4)."""
    runtime, service = pair()
    events(service.receive_data, service.next_event, [runtime.send(NextAsked())])
    events(runtime.receive_data, runtime.next_event, [service.send(INVOCATION)])
    wire = runtime.send(STREAM) + runtime.send(ResponseChunk(data=b"a"))
    assert events(service.receive_data, service.next_event, list(deliveries(wire))[delivery])[0] == STREAM
    with pytest.raises(LocalProtocolError, match="before the request is complete"):
        service.send(Accepted())
    said = list(deliveries(b"".join(encode_answer(Accepted()))))[delivery]
    assert events(runtime.receive_data, runtime.next_event, said) == [Accepted()]
    assert runtime.must_close
    assert not service.must_close


def test_a_runtime_that_dies() -> None:
    """In the middle of a stream: the service knows that it was cut, and that nobody hears what it replies."""
    runtime, service = pair()
    events(service.receive_data, service.next_event, [runtime.send(NextAsked())])
    events(runtime.receive_data, runtime.next_event, [service.send(INVOCATION)])
    events(service.receive_data, service.next_event, [runtime.send(STREAM)])
    service.receive_data(b"")
    with pytest.raises(RemoteProtocolError) as caught:
        service.next_event()
    reply = caught.value.reply
    assert reply is not None
    assert events(runtime.receive_data, runtime.next_event, [service.send(reply)]) == [reply]


def test_a_request_id_that_two_slots_hold() -> None:
    """Managed instances retry what expired, and do not tell the runtime: each of its slots has a lifecycle of its own.

    The late answer of the first attempt is refused and consumes nothing; that of the second is taken.
    """
    environment = ManagedLifecycle()
    slots = [(RuntimeConnection(host="127.0.0.1:9001"), ServiceConnection(environment)) for _ in range(2)]
    attempts = [Invocation(request_id="id", payload=b"{}", invocation_id=f"attempt {number}") for number in range(2)]
    for (runtime, service), attempt in zip(slots, attempts, strict=True):
        assert events(service.receive_data, service.next_event, [runtime.send(NextAsked())]) == [NextAsked()]
        assert events(runtime.receive_data, runtime.next_event, [service.send(attempt)]) == [attempt]
        if attempt is attempts[0]:
            environment.expire("id")
    late = Refused(status=410, error_type="InvokeTimeout", error_message="Invoke timeout")
    answers: list[Answer] = [late, Accepted()]
    for (runtime, service), attempt, answer in zip(slots, attempts, answers, strict=True):
        response = BufferedResponse(request_id="id", payload=b"1", invocation_id=attempt.invocation_id)
        expected = Violation(reply=late) if answer is late else response
        assert events(service.receive_data, service.next_event, [runtime.send(response)]) == [expected]
        assert events(runtime.receive_data, runtime.next_event, [service.send(answer)]) == [answer]
        assert events(service.receive_data, service.next_event, [runtime.send(NextAsked())]) == [NextAsked()]
    assert environment.attempts == {}


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(lambda text: text.strip(" \t"))
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20).map(
    lambda text: text.strip(" \t") or "x"
)
PAYLOADS = st.binary(max_size=50)
HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(st.text("abcxyz-", min_size=1, max_size=9).map(lambda name: f"x-{name}"), TEXTS), max_size=3
).map(tuple)
INVOCATIONS = st.builds(
    Invocation,
    request_id=IDS,
    payload=PAYLOADS,
    deadline_ms=st.none() | st.integers(0, 2**60),
    invoked_function_arn=TEXTS,
    trace_id=TEXTS,
    client_context=TEXTS,
    cognito_identity=TEXTS,
    tenant_id=TEXTS,
    invocation_id=TEXTS,
    content_type=TEXTS,
    headers=HEADERS,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Line]:
    """Return a poll, its invocation, a report of any kind, and how it is taken."""
    invocation = draw(INVOCATIONS)
    request_id, invocation_id = invocation.request_id, invocation.invocation_id
    refusals = st.builds(
        Refused,
        status=st.integers(400, 599).filter(lambda status: status != 404),
        error_type=TEXTS.filter(bool),
        error_message=st.text(st.characters(exclude_categories=["Cs"])),
        allow=TEXTS,
    )
    verdict = draw(st.just(Accepted()) | refusals)
    content_type, error_type = draw(TEXTS), draw(TEXTS)
    lines: list[Line] = [(NextAsked(), invocation)]
    match draw(st.sampled_from(["buffered", "streamed", "failed", "error"])):
        case "buffered":
            response = BufferedResponse(
                request_id=request_id, payload=draw(PAYLOADS), content_type=content_type, invocation_id=invocation_id
            )
            return [*lines, (response, verdict)]
        case "error":
            error = ErrorReported(
                request_id=request_id,
                error_type=error_type,
                payload=draw(PAYLOADS),
                xray_cause=draw(TEXTS),
                content_type=content_type,
                invocation_id=invocation_id,
            )
            return [*lines, (error, verdict)]
        case how:
            start = ResponseStarted(
                request_id=request_id,
                content_type=content_type,
                invocation_id=invocation_id,
                response_mode=draw(st.sampled_from(["streaming", "buffered"])),
            )
            chunks = draw(st.lists(st.binary(min_size=1, max_size=30), max_size=4))
            failed = ResponseFailed(error_type=error_type or "E", error_body=draw(PAYLOADS))
            end = ResponseFinished() if how == "streamed" else failed
            return [*lines, (start, None), *((ResponseChunk(data=chunk), None) for chunk in chunks), (end, verdict)]


@settings(max_examples=100)
@given(lines=conversations(), delivery=st.integers(0, 4))
def test_any_conversation(lines: list[Line], delivery: int) -> None:
    """Whatever the values: ids, texts beyond ASCII, payloads of any bytes, refusals of any words."""
    converse(lines, delivery)

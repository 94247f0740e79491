"""Both ends of Invoke against each other: what one sends the other hears, equal by ``==``, in every delivery."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Refused
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_asks import too_large
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    InvokeViolation,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._limits import MAX_INVOKE_EVENT
from lambda_wire._signals import Signal
from lambda_wire._state import Turn
from lambda_wire._types import Headers
from lambda_wire.testing import deliveries

Line = tuple[InvokeAsked, list[InvokeAnswer]]
"""What the caller asks, and everything that the service answers."""

CALL = InvokeAsked(function_name="f", payload=b"{}")
STREAM = InvokeAsked(function_name="f", payload=b"{}", streaming=True)
REFUSED = InvokeRefused(status=429, error_type="TooManyRequestsException", message="Rate Exceeded.")
ENDS: tuple[InvokeComplete | InvokeFailed, ...] = (
    InvokeComplete(log_result="bG9n"),
    InvokeComplete(error_code="E", error_details='{"errorMessage":"\u2603\\u0000"}'),
    InvokeFailed(error_code="ServiceException", message="m"),
)

#: Any text that is UTF-8; and text that fits in a header line, no byte lost.
UTF8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\t\udc80\udcff"), max_size=20).map(
    lambda text: text.strip(" \t")
)
HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(st.text("abcxyz-", min_size=1, max_size=9).map(lambda name: f"x-{name}"), TEXTS), max_size=3
).map(tuple)
JSON = st.sampled_from([b"{}", b"[1]", b'"\xe2\x98\x83"', b"null", b" {} ", b'{"a":"' + b"x" * 300 + b'"}'])
ASKED = st.builds(
    InvokeAsked,
    function_name=UTF8.filter(bool),
    payload=JSON,
    streaming=st.booleans(),
    qualifier=UTF8,
    invocation_type=st.sampled_from(["RequestResponse", "Event", "DryRun"]),
    log_type=st.sampled_from(["None", "Tail"]) | TEXTS.filter(bool),
    client_context=st.sampled_from(["", "{}", '{"custom":{"\u043a":"\u2603\U0001f600"}}', '{ "a":\t1}']),
    tenant_id=TEXTS,
    trace_id=TEXTS,
    headers=HEADERS,
)
ANSWERED = st.builds(
    InvokeAnswered,
    payload=st.binary(max_size=50),
    status=st.integers(200, 299).filter(lambda status: status != 204),
    content_type=TEXTS,
    function_error=TEXTS,
    log_result=TEXTS,
    executed_version=TEXTS,
    request_id=TEXTS,
    trace_id=TEXTS,
    headers=HEADERS,
) | st.builds(InvokeAnswered, status=st.just(204), content_type=TEXTS, request_id=TEXTS)
REFUSALS = st.builds(
    InvokeRefused,
    status=st.integers(300, 599).filter(lambda status: status != 304),
    error_type=st.just("") | st.text("AZaz09._-", min_size=1, max_size=20),
    message=UTF8,
    request_id=TEXTS,
    headers=HEADERS,
) | st.builds(InvokeRefused, status=st.just(304), error_type=st.sampled_from(["", "E"]), request_id=TEXTS)
ACCEPTED = st.builds(
    InvokeAccepted,
    content_type=TEXTS,
    executed_version=TEXTS,
    request_id=TEXTS,
    trace_id=TEXTS,
    headers=HEADERS,
)
CHUNKS = st.lists(st.builds(PayloadChunk, payload=st.binary(max_size=50)), max_size=4)
COMPLETES = st.builds(InvokeComplete, error_code=UTF8, error_details=UTF8, log_result=UTF8)
FAILURES = st.builds(InvokeFailed, error_code=UTF8, message=UTF8)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Return a call of any kind, and an answer of any kind to it."""
    asked = draw(ASKED)
    if draw(st.booleans()):
        return asked, [draw(REFUSALS)]
    if not asked.streaming:
        return asked, [draw(ANSWERED)]
    return asked, [draw(ACCEPTED), *draw(CHUNKS), draw(COMPLETES | FAILURES)]


def pair() -> tuple[InvokeConnection, InvokeServiceConnection]:
    """Return both ends of a connection."""
    return InvokeConnection(host="127.0.0.1:9000"), InvokeServiceConnection()


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


def converse(conversation: list[Line], delivery: int) -> None:
    """Hold a conversation on one connection; see that each end hears exactly what the other said."""
    caller, service = pair()
    for asked, answers in conversation:
        wire = list(deliveries(caller.send(asked)))[delivery]
        assert events(service.receive_data, service.next_event, wire) == [asked]
        assert (service.turn, caller.turn) == (Turn.AWAITING, Turn.AWAITING)
        said = b"".join(service.send(answer, date="Sat, 21 Nov 2026 09:30:16 GMT") for answer in answers)
        assert caller.awaiting_answer
        wire = list(deliveries(said))[delivery]
        assert events(caller.receive_data, caller.next_event, wire) == answers
        assert (service.turn, caller.turn) == (Turn.IDLE, Turn.IDLE)
        assert caller.awaiting_answer is caller.must_close is service.must_close is False
    assert events(service.receive_data, service.next_event, [b""]) == [ConnectionClosed()]
    assert events(caller.receive_data, caller.next_event, [b""]) == [ConnectionClosed()]


@settings(max_examples=150)
@given(conversation=st.lists(lines(), min_size=1, max_size=3), delivery=st.integers(0, 4))
def test_any_conversation(conversation: list[Line], delivery: int) -> None:
    """Whatever the values: names, texts beyond ASCII, payloads of any bytes, refusals of any words."""
    converse(conversation, delivery)


@pytest.mark.parametrize("delivery", range(5))
@pytest.mark.parametrize("end", ENDS)
def test_a_stream(end: InvokeComplete | InvokeFailed, delivery: int) -> None:
    """Every end, then another call on the same connection."""
    chunks = [PayloadChunk(payload=payload) for payload in (b"a", b"", b"\0" * 300)]
    converse([(STREAM, [InvokeAccepted(), *chunks, end]), (CALL, [InvokeAnswered()])], delivery)


def test_each_chunk_as_it_is_said() -> None:
    """The caller has it before the service says the next one."""
    caller, service = pair()
    events(service.receive_data, service.next_event, [caller.send(STREAM)])
    for event in (InvokeAccepted(), PayloadChunk(payload=b"a"), PayloadChunk(payload=b"b"), InvokeComplete()):
        assert events(caller.receive_data, caller.next_event, [service.send(event)]) == [event]
    assert not caller.awaiting_answer


def test_no_payload_is_heard_as_an_object() -> None:
    """The one event that does not arrive as it was said: the function gets ``{}``."""
    caller, service = pair()
    wire = caller.send(InvokeAsked(function_name="f"))
    assert events(service.receive_data, service.next_event, [wire]) == [CALL]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (InvokeAsked(function_name="f", payload=b"{"), 400),
        (InvokeAsked(function_name="f", payload=b"{}", invocation_type="x"), 400),
        (InvokeAsked(function_name="f", payload=b"{}", client_context="no JSON"), 400),
        (InvokeAsked(function_name="f", payload=b" " * MAX_INVOKE_EVENT + b"1"), 413),
        (InvokeAsked(function_name="f", payload=b" " * MAX_INVOKE_EVENT + b"1", streaming=True), 413),
    ],
)
def test_what_can_be_said_and_not_called(asked: InvokeAsked, status: int) -> None:
    """It is refused by name, and both ends go on."""
    caller, service = pair()
    (violation,) = events(service.receive_data, service.next_event, [caller.send(asked)])
    assert isinstance(violation, InvokeViolation)
    assert violation.reply.status == status
    assert events(caller.receive_data, caller.next_event, [service.send(violation.reply)]) == [violation.reply]
    assert events(service.receive_data, service.next_event, [caller.send(CALL)]) == [CALL]


def test_the_largest_event() -> None:
    """To the byte."""
    converse([(InvokeAsked(function_name="f", payload=b" " * (MAX_INVOKE_EVENT - 1) + b"1"), [InvokeAnswered()])], 0)
    assert too_large(MAX_INVOKE_EVENT).message.startswith("Request must be smaller than 6291456 bytes")


@pytest.mark.parametrize("asked", [CALL, STREAM])
def test_a_plain_refusal(asked: InvokeAsked) -> None:
    """What is said in plain HTTP is heard as the message."""
    caller, service = pair()
    events(service.receive_data, service.next_event, [caller.send(asked)])
    wire = service.send(Refused(status=500, error_message="out of order"))
    heard = events(caller.receive_data, caller.next_event, [wire])
    assert heard == [InvokeRefused(status=500, message="out of order\n")]


@pytest.mark.parametrize("asked", [CALL, STREAM])
def test_a_refusal_before_the_event_was_read(asked: InvokeAsked) -> None:
    """The caller hears it, and both are done."""
    caller, service = pair()
    assert events(service.receive_data, service.next_event, [caller.send(asked)[:-1]]) == []
    wire = service.send(REFUSED)
    assert events(caller.receive_data, caller.next_event, [wire]) == [REFUSED]
    assert caller.must_close
    assert service.must_close


@pytest.mark.parametrize("asked", [CALL, STREAM])
@pytest.mark.parametrize("delivery", range(5))
def test_a_fault(asked: InvokeAsked, delivery: int) -> None:
    """A caller who breaks the law is told so: the reply of the fault is a refusal to him."""
    caller, service = pair()
    wire = caller.send(asked).replace(b"Content-Length: 2", b"Content-Length: x")
    with pytest.raises(RemoteProtocolError) as caught:
        events(service.receive_data, service.next_event, list(deliveries(wire))[delivery])
    reply = caught.value.reply
    assert reply is not None
    (refusal,) = events(caller.receive_data, caller.next_event, [service.send(reply)])
    assert refusal == InvokeRefused(status=400, message=f"{reply.error_message}\n")
    assert caller.must_close


class Sends(RuleBasedStateMachine):
    """Any order of sends at both ends: what is refused changes nothing, what is sent is heard, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.caller, self.service = pair()
        self.open: InvokeAsked | None = None
        self.accepted = False

    def _sent(self, send: Callable[[], bytes], legal: bool) -> bytes | None:
        before = self._state()
        if legal:
            return send()
        with pytest.raises(LocalProtocolError):
            send()
        assert self._state() == before
        return None

    def _state(self) -> tuple[object, ...]:
        caller, service = self.caller, self.service
        return caller.turn, caller.must_close, caller.awaiting_answer, service.turn, service.must_close

    @rule(asked=ASKED)
    def ask(self, asked: InvokeAsked) -> None:
        """Legal while no call is open."""
        wire = self._sent(lambda: self.caller.send(asked), self.open is None)
        if wire is not None:
            assert events(self.service.receive_data, self.service.next_event, [wire]) == [asked]
            self.open, self.accepted = asked, False

    @rule(answer=ANSWERED)
    def answer(self, answer: InvokeAnswered) -> None:
        """Legal while a whole call is open."""
        self._answer(answer, self.open is not None and not self.open.streaming, ends=True)

    @rule(answer=ACCEPTED)
    def accept(self, answer: InvokeAccepted) -> None:
        """Legal while a streamed call is open, once."""
        self._answer(answer, self.open is not None and self.open.streaming and not self.accepted)
        self.accepted = self.open is not None and self.open.streaming

    @rule(answer=REFUSALS)
    def refuse(self, answer: InvokeRefused) -> None:
        """Legal while a call is open and nothing was said."""
        self._answer(answer, self.open is not None and not self.accepted, ends=True)

    @rule(answer=st.builds(PayloadChunk, payload=st.binary(max_size=50)))
    def chunk(self, answer: PayloadChunk) -> None:
        """Legal after the head, any number of times."""
        self._answer(answer, self.open is not None and self.accepted)

    @rule(answer=COMPLETES | FAILURES)
    def end(self, answer: InvokeComplete | InvokeFailed) -> None:
        """Legal after the head, once."""
        self._answer(answer, self.open is not None and self.accepted, ends=True)

    def _answer(self, answer: InvokeAnswer, legal: bool, *, ends: bool = False) -> None:
        wire = self._sent(lambda: self.service.send(answer), legal)
        if wire is not None:
            assert events(self.caller.receive_data, self.caller.next_event, [wire]) == [answer]
            if ends:
                self.open, self.accepted = None, False

    @precondition(lambda self: self.open is None)
    @rule()
    def look(self) -> None:
        """Between calls there is nothing to hear."""
        assert events(self.caller.receive_data, self.caller.next_event, []) == []
        assert isinstance(self.caller.next_event(), Signal)
        assert isinstance(self.service.next_event(), Signal)

    @invariant()
    def both_agree(self) -> None:
        """Whose turn it is, and that the connection goes on."""
        assert self.caller.turn is self.service.turn
        assert self.caller.must_close is self.service.must_close is False
        assert self.caller.awaiting_answer is (self.open is not None)


TestSends = Sends.TestCase
TestSends.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)

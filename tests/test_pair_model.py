"""Both ends of an environment, across connections, in any order of things legal and illegal, delivered in any pieces.

The model is what was said. While no connection was lost, each end hears exactly that and both know the same state.
After a loss the ends may disagree about what has happened, as they must; they then hear refusals, but never nonsense.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Answer,
    Ask,
    BufferedResponse,
    ConnectionClosed,
    Continue,
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
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._state import State, Turn

HELD = (State.INVOCATION_RESPONSE, State.INVOCATION_ERROR_RESPONSE, State.RESTORE_READY)
REFUSALS = (
    Refused(status=413, error_type="RequestEntityTooLarge", error_message="x"),
    Refused(status=500, error_type="InternalServerError"),
    Refused(status=405, allow="GET"),
)
KINDS: tuple[type, ...] = (
    NextAsked,
    BufferedResponse,
    ResponseStarted,
    ResponseChunk,
    ResponseFinished,
    ResponseFailed,
    ErrorReported,
    InitErrorReported,
    RestoreAsked,
    RestoreErrorReported,
    PingAsked,
)


class Environment(RuleBasedStateMachine):
    """One runtime, one service, one connection after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.runtime_life = StandardLifecycle(snap_start=True)
        self.service_life = StandardLifecycle(snap_start=True)
        self.lost = False
        """Whether anything was said that the other end will never hear: from then on they may disagree."""
        self.invocations = 0

    @initialize()
    def connect(self) -> None:
        """Begin a connection; the environment is what it was."""
        self.runtime = RuntimeConnection(host="h", lifecycle=self.runtime_life)
        self.service = ServiceConnection(self.service_life, max_payload=64, max_stream=96)
        self.to_service = bytearray()
        self.to_runtime = bytearray()
        self.asked: list[Ask] = []
        self.answered: list[Answer] = []
        self.heard_by_service: list[object] = []
        self.heard_by_runtime: list[object] = []
        self.due: Answer | None = None

    # -- what may be said, and what may not

    @rule(kind=st.sampled_from(KINDS), right_id=st.booleans(), size=st.integers(0, 70))
    def ask(self, kind: type, right_id: bool, size: int) -> None:
        """The runtime says anything at all: it is said, or it is refused and nothing changed."""
        before = self.runtime_state()
        event = self.make(kind, self.runtime_life.request_id if right_id else "other", bytes(size))
        try:
            data = self.runtime.send(event)
        except LocalProtocolError:
            assert self.runtime_state() == before
            return
        assert right_id or not isinstance(event, (BufferedResponse, ResponseStarted, ErrorReported))
        self.to_service += data
        self.asked.append(event)

    @rule()
    def ask_the_obvious(self) -> None:
        """Say what is due, so that most stories go on."""
        obvious: dict[State, type] = {State.RUNNING: ResponseStarted, State.INVOCATION_RESPONSE: ResponseFinished}
        self.ask(obvious.get(self.runtime_life.state, NextAsked), right_id=True, size=1)

    @precondition(lambda self: self.runtime.turn is Turn.SENDING)
    @rule()
    def fail_with_too_much(self) -> None:
        """Trailers that do not fit cannot be said, and nothing changed."""
        before = self.runtime_state()
        try:
            self.runtime.send(ResponseFailed(error_type="E", error_body=bytes(4096)))
        except (Malformed, LocalProtocolError):
            assert self.runtime_state() == before
        else:
            raise AssertionError("4,096 bytes do not fit the trailers")

    @rule(
        choice=st.sampled_from(["invocation", "accepted", "pong", "restored", "continue", *range(len(REFUSALS))]),
        unasked=st.integers(0, 9),
    )
    def answer(self, choice: str | int, unasked: int) -> None:
        """The service says anything at all: it is said, or it is refused and nothing changed."""
        if isinstance(choice, str) or self.service.turn is not Turn.IDLE or not unasked:
            self.say(self.make_answer(choice))

    @precondition(lambda self: self.due is not None)
    @rule()
    def answer_the_obvious(self) -> None:
        """Say what is due, so that most stories go on."""
        if self.due is not None:
            self.say(self.due)

    def say(self, event: Answer) -> None:
        """Say one answer."""
        before = self.service_state()
        unasked = self.service.turn is Turn.IDLE
        try:
            data = self.service.send(event)
        except LocalProtocolError:
            assert self.service_state() == before
            return
        assert unasked <= isinstance(event, Refused)
        self.lost = self.lost or unasked
        self.to_runtime += data
        self.answered.append(event)
        self.due = None

    @rule(turns=st.integers(1, 6))
    def go_on(self, turns: int) -> None:
        """Say what is due, and let it all arrive: so most stories get somewhere."""
        for _ in range(turns):
            self.ask_the_obvious()
            self.deliver_to_service(len(self.to_service) or 1)
            self.answer_the_obvious()
            self.deliver_to_runtime(len(self.to_runtime) or 1)

    # -- what the network does

    @rule(count=st.integers(1, 400))
    def deliver_to_service(self, count: int) -> None:
        """Some bytes arrive at the service."""
        if self.to_service:
            self.service.receive_data(bytes(self.to_service[:count]))
            del self.to_service[:count]
        self.listen_at_service()

    @rule(count=st.integers(1, 400))
    def deliver_to_runtime(self, count: int) -> None:
        """Some bytes arrive at the runtime."""
        if self.to_runtime:
            self.runtime.receive_data(bytes(self.to_runtime[:count]))
            del self.to_runtime[:count]
        while not isinstance(event := self.runtime.next_event(), Signal):
            self.heard_by_runtime.append(event)

    @rule(arrives=st.integers(0, 400), returns=st.integers(0, 400), failed=st.booleans())
    def lose(self, arrives: int, returns: int, failed: bool) -> None:
        """The connection ends, with what was on its way cut anywhere; another one follows."""
        self.lost = self.lost or bool(self.to_service or self.to_runtime or self.service.turn is not Turn.IDLE)
        if failed:
            self.runtime.send_failed()
            assert self.runtime.must_close
        if arrives:
            self.deliver_to_service(arrives)
        self.service.receive_data(b"")
        self.end_at_service()
        if returns:
            self.deliver_to_runtime(returns)
        self.runtime.receive_data(b"")
        self.end_at_runtime()
        assert self.runtime.must_close
        assert self.runtime_life.state not in HELD
        assert self.service_life.state not in HELD
        self.connect()

    # -- what is heard

    def listen_at_service(self) -> None:
        """Hear everything that is there."""
        while not isinstance(event := self.service.next_event(), Signal):
            if isinstance(event, ConnectionClosed):
                return
            self.heard_by_service.append(event)
            self.due = self.answer_to(event)

    def end_at_service(self) -> None:
        """Hear the end: as such, or as a report that broke off, or while an answer is due that nobody will hear."""
        try:
            self.listen_at_service()
        except RemoteProtocolError as fault:
            reply = fault.reply
        else:
            reply = REFUSALS[1] if self.service.turn is Turn.AWAITING else None
        if reply is not None:
            self.service.send(reply)

    def end_at_runtime(self) -> None:
        """Hear the end: as such, or as an answer that broke off."""
        reason = "in the middle"
        try:
            while not isinstance(event := self.runtime.next_event(), (Signal, ConnectionClosed)):
                self.heard_by_runtime.append(event)
        except RemoteProtocolError as fault:
            reason = str(fault)
        assert "in the middle" in reason

    # -- what must always be so

    @invariant()
    def hears_what_was_said(self) -> None:
        """In order, nothing added; before anything was lost, nothing left out either."""
        asks = [event for event in self.heard_by_service if not isinstance(event, Violation)]
        answers = self.heard_by_runtime
        assert answers == self.answered[: len(answers)]
        if self.lost:
            rest: Iterator[object] = iter(self.asked)
            assert all(event in rest for event in asks)
        else:
            oversize = [event for event in self.heard_by_service if isinstance(event, Violation)]
            assert all(violation.reply.status == 413 for violation in oversize)
            assert oversize or asks == self.asked[: len(asks)]

    @invariant()
    def knows_the_same(self) -> None:
        """With nothing on its way and nothing lost, both ends agree on whose turn it is and on the environment."""
        if self.lost or self.to_service or self.to_runtime or not self.asked:
            return
        assert self.runtime_life.state is self.service_life.state
        assert self.runtime_life.request_id == self.service_life.request_id
        over = self.runtime.must_close and self.service.must_close  # an early answer finds a stream sent or half sent
        assert over or self.runtime.turn is self.service.turn

    @invariant()
    def keeps_silent_when_over(self) -> None:
        """What must be closed is not sent on."""
        assert not (self.runtime.must_close and self.runtime.awaits(NextAsked)) or self.to_runtime

    def runtime_state(self) -> tuple[object, ...]:
        """Return all that can be seen of the runtime's end."""
        life = self.runtime_life
        return life.state, life.request_id, self.runtime.turn, self.runtime.must_close, self.runtime.awaits(NextAsked)

    def service_state(self) -> tuple[object, ...]:
        """Return all that can be seen of the service's end."""
        return self.service_life.state, self.service_life.request_id, self.service.turn, self.service.must_close

    # -- events

    def make(self, kind: type, request_id: str, data: bytes) -> Ask:
        """Return an event of this kind."""
        request_id = request_id or "none"
        made: dict[type, Ask] = {
            NextAsked: NextAsked(),
            BufferedResponse: BufferedResponse(request_id=request_id, payload=data),
            ResponseStarted: ResponseStarted(request_id=request_id),
            ResponseChunk: ResponseChunk(data=data or b"x"),
            ResponseFinished: ResponseFinished(),
            ResponseFailed: ResponseFailed(error_type="Function.E", error_body=data),
            ErrorReported: ErrorReported(request_id=request_id, error_type="Function.E", payload=data),
            InitErrorReported: InitErrorReported(error_type="Runtime.E", payload=data),
            RestoreAsked: RestoreAsked(),
            RestoreErrorReported: RestoreErrorReported(error_type="Runtime.E", payload=data),
            PingAsked: PingAsked(),
        }
        return made[kind]

    def make_answer(self, choice: str | int) -> Answer:
        """Return an answer of this kind."""
        if isinstance(choice, int):
            return REFUSALS[choice]
        if self.service_life.state is not State.RUNNING:  # a second poll gets the same event again
            self.invocations += 1
        made: dict[str, Answer] = {
            "invocation": Invocation(request_id=f"id-{self.invocations}", payload=b"{}"),
            "accepted": Accepted(),
            "pong": Pong(),
            "restored": RestoreReady(),
            "continue": Continue(),
        }
        return made[choice]

    def answer_to(self, event: object) -> Answer | None:
        """Return what is due to what was heard."""
        match event:
            case Violation():
                return event.reply
            case NextAsked():
                return self.make_answer("invocation")
            case PingAsked():
                return Pong()
            case RestoreAsked():
                return RestoreReady()
            case ResponseStarted() | ResponseChunk() | ConnectionClosed():
                return None
            case _:
                return Accepted()


Environment.TestCase.settings = settings(max_examples=100, stateful_step_count=60)
TestEnvironment = Environment.TestCase

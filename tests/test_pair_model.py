"""Both ends against a model of the law: any order of things legal and illegal, over connections cut at any byte.

The model says of each act at either end whether it is legal, and what the other end then hears; nothing else may
happen. The model is in ``pair_law``: spec/states.md in other words, which knows nothing of the tables of the package.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Final

import pytest
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
    RestoreReady,
    Violation,
)
from lambda_wire._lifecycle import ManagedLifecycle, StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._signals import Signal
from tests.pair_law import (
    ENDS,
    KINDS,
    NAMES,
    POLLS,
    REPORTS,
    Law,
    Lawless,
    LawlessLifecycle,
    Link,
    Managed,
    RuntimeEnd,
    ServiceEnd,
    make,
)

REFUSALS: Final = (
    Refused(status=413, error_type="RequestEntityTooLarge", error_message="x"),
    Refused(status=500, error_type="InternalServerError"),
    Refused(status=405, allow="GET"),
)
NO_CHUNK: Final = b"zz\r\n"
NO_HEAD: Final = b"\0\r\n\r\n"


class Environment(RuleBasedStateMachine):
    """An environment, and a runtime with two connections to it at a time, one after the other."""

    managed: ClassVar[bool]

    @initialize(honest=st.booleans(), snap_start=st.booleans())
    def start(self, honest: bool, snap_start: bool) -> None:
        """Begin with a runtime that keeps the law, or with one that says anything."""
        managed, self.honest = self.managed, honest
        self.first: type = RestoreAsked if snap_start and not managed else NextAsked
        self.law: Law = Managed() if managed else Law(snap_start=snap_start)
        self.lifecycle = ManagedLifecycle() if managed else StandardLifecycle(snap_start=snap_start)
        slots = [self.slot() for _ in range(2)] if managed else [self.slot()] * 2
        self.links = [self.connect(*slot) for slot in slots]
        self.given: list[Invocation] = []
        self.heard: dict[Law, list[Invocation]] = {}
        """What each slot was given."""
        self.taken: Counter[Invocation] = Counter()

    def slot(self) -> tuple[Law, StandardLifecycle]:
        """Return what a runtime knows where it has one invocation at a time."""
        if self.honest:
            return Law(), StandardLifecycle(snap_start=True)
        return Lawless(), LawlessLifecycle(snap_start=True)

    def connect(self, law: Law, lifecycle: StandardLifecycle) -> Link:
        return Link(RuntimeEnd(law, lifecycle), ServiceEnd(self.law, self.lifecycle))

    # -- what may be said, and what may not

    @rule(
        at=st.integers(0, 1),
        kind=st.sampled_from(KINDS),
        whose=st.integers(-3, 3),
        echo=st.sampled_from(["its own", "its own", "", "another"]),
        size=st.sampled_from([0, 1, 64, 65, 70]),
        odd=st.integers(0, 5),
        arrives=st.booleans(),
    )
    def ask(self, at: int, kind: type, whose: int, echo: str, size: int, odd: int, arrives: bool) -> None:
        """The runtime says anything at all: it is said if the model allows it, else refused and nothing changed."""
        heard = self.heard.get(self.link(at).runtime.law, [])
        of = heard[-1:] if whose < 0 else self.given[whose : whose + 1]
        request_id, own = (of[0].request_id, of[0].invocation_id) if of else ("never", "")
        event = make(kind, request_id, own if echo == "its own" else echo, bytes(size), buffered=odd == 1)
        self.say(at, event, bad_mode=not self.honest and not odd)
        if arrives:
            self.deliver_to_service(at, 10_000)

    def say(self, at: int, event: Ask, *, bad_mode: bool = False) -> None:
        """Say one thing at the runtime's end."""
        end, other = self.link(at).runtime, self.link(at).service
        before = end.seen()
        legal = end.may_say(event)
        try:
            data = end.real.send(event)
        except LocalProtocolError:
            assert not legal, event
            assert end.seen() == before
            return
        assert legal, event
        end.say(event)
        bad_mode = bad_mode and isinstance(event, ResponseStarted) and event.response_mode == "streaming"
        if bad_mode:
            data = data.replace(b": streaming\r\n", b": Streaming\r\n")
        if isinstance(event, ResponseChunk):
            other.due.append((other.written + len(data) - 2, event, "part"))
        else:
            if not isinstance(event, ENDS):
                head = other.written + data.index(b"\r\n\r\n") + 4
                other.due.append((head, event, "bad mode" if bad_mode else "head"))
            if not isinstance(event, ResponseStarted):
                other.due.append((other.written + len(data), event, "end"))
        other.written += len(data)
        other.coming += data

    @precondition(lambda self: any(link.runtime.may_say(ResponseFinished()) for link in self.links))
    @rule()
    def fail_with_too_much(self) -> None:
        """Trailers that do not fit cannot be said, and nothing changed (LI-TRAILER-1)."""
        for link in self.links:
            before = link.runtime.seen()
            with pytest.raises((Malformed, LocalProtocolError)):
                link.runtime.real.send(ResponseFailed(error_type="E", error_body=bytes(4096)))
            assert link.runtime.seen() == before

    @rule(
        at=st.integers(0, 1),
        choice=st.sampled_from(["new", "new", "again", "accepted", "pong", "restored", "continue", 0, 1, 2]),
        which=st.integers(0, 3),
        unasked=st.integers(0, 9),
        arrives=st.integers(0, 400),
    )
    def answer(self, at: int, choice: str | int, which: int, unasked: int, arrives: int) -> None:
        """The service says anything at all: it is said if the model allows it, else refused and nothing changed."""
        if self.link(at).service.open is not None or isinstance(choice, str) or not unasked:
            self.reply(at, self.make_answer(choice, which))
            self.deliver_to_runtime(at, arrives)

    def reply(self, at: int, event: Answer) -> None:
        """Say one thing at the service's end."""
        end, other = self.link(at).service, self.link(at).runtime
        before = end.seen()
        legal = end.may_say(event)
        try:
            data = end.real.send(event)
        except LocalProtocolError:
            assert not legal, event
            assert end.seen() == before
            return
        assert legal, event
        if isinstance(event, Invocation) and event not in self.given:
            self.given.append(event)
        if isinstance(event, Accepted) and isinstance(end.open, REPORTS):
            self.taken[self.attempt(end.open.request_id)] += 1
        end.say(event)
        other.written += len(data)
        other.coming += data
        other.due.append((other.written, event, end.dead))

    def attempt(self, request_id: str) -> Invocation:
        """Return the latest attempt of an invocation: the one that an answer is taken for."""
        return [invocation for invocation in self.given if invocation.request_id == request_id][-1]

    @rule(at=st.integers(0, 1), turns=st.integers(1, 4))
    def go_on(self, at: int, turns: int) -> None:
        """Say what is due, and let it all arrive: so most stories get somewhere."""
        for _ in range(turns):
            end = self.link(at).runtime
            obvious = {"started": self.first, "running": ResponseStarted, "answering": ResponseFinished}
            kind = obvious.get(end.law.phase, NextAsked)
            self.exchange(at, make(kind, end.law.request_id or "never", self.own(at), b"x"))

    def own(self, at: int) -> str:
        """Return the invocation id of what this slot was given last."""
        heard = self.heard.get(self.link(at).runtime.law)
        return heard[-1].invocation_id if heard else ""

    @rule(
        at=st.integers(0, 1),
        sizes=st.lists(st.sampled_from([1, 30, 60, 70]), min_size=1, max_size=3),
        buffered=st.booleans(),
        arrives=st.integers(0, 800),
    )
    def stream(self, at: int, sizes: list[int], buffered: bool, arrives: int) -> None:
        """Begin what is streamed, or go on with it."""
        law = self.link(at).runtime.law
        if law.phase == "running":
            self.say(at, make(ResponseStarted, law.request_id, self.own(at), b"", buffered=buffered))
        for size in sizes:
            self.say(at, ResponseChunk(data=bytes(size)))
        self.deliver_to_service(at, arrives)

    def reply_as_is_due(self, at: int) -> None:
        """Say what a service says that has what it is asked for."""
        end = self.link(at).service
        if end.open is None or not end.whole:
            return
        if end.refusal:
            self.reply(at, Refused(status=end.refusal, error_type="E", error_message="no"))
        else:
            due: dict[type, str] = {
                NextAsked: "again" if end.law.phase == "running" else "new",
                RestoreAsked: "restored",
            }
            due[PingAsked] = "pong"
            self.reply(at, self.make_answer(due.get(type(end.open), "accepted"), -1))

    def make_answer(self, choice: str | int, which: int) -> Answer:
        """Return an answer of this kind: an invocation that is new, or a new attempt at, or the same again."""
        if isinstance(choice, int):
            return REFUSALS[choice]
        made: dict[str, Answer] = {"accepted": Accepted(), "pong": Pong(), "restored": RestoreReady()}
        made["continue"] = Continue()
        if choice in made:
            return made[choice]
        number = len(self.given)
        if choice == "again" and self.given:
            again = self.given[which % number]
            attempt = f"attempt-{number}" if self.managed else again.invocation_id
            return Invocation(request_id=again.request_id, payload=b"{}", invocation_id=attempt)
        return Invocation(request_id=f"id-{number}", payload=b"{}", invocation_id=f"attempt-{number}")

    @rule(at=st.integers(0, 1), arrives=st.integers(0, 400), returns=st.integers(0, 400))
    def refuse_early(self, at: int, arrives: int, returns: int) -> None:
        """The service refuses a response, or nothing at all, whatever has come of it (RS-EARLY-1)."""
        held = self.link(at).runtime.law.request_id
        self.say(at, make(BufferedResponse, held or "never", self.own(at), bytes(60)))
        self.deliver_to_service(at, arrives)
        self.reply(at, REFUSALS[0])
        self.deliver_to_runtime(at, returns)

    @precondition(lambda self: self.managed and self.given)
    @rule(at=st.integers(0, 1), which=st.integers(-2, 1), late=st.integers(0, 2))
    def expire(self, at: int, which: int, late: int) -> None:
        """The deadline of an attempt passes, and late answers to it may come (RT-MANAGED-6)."""
        attempt = self.given[which % len(self.given)]
        if isinstance(self.lifecycle, ManagedLifecycle) and isinstance(self.law, Managed):
            self.lifecycle.expire(attempt.request_id)
            if self.law.attempts.get(attempt.request_id) == "running":
                self.law.attempts[attempt.request_id] = "late"
        for _ in range(late):
            self.exchange(at, make(ErrorReported, attempt.request_id, attempt.invocation_id, b""))

    # -- what the network does

    @rule(at=st.integers(0, 1), count=st.integers(1, 400))
    def deliver_to_service(self, at: int, count: int) -> None:
        """Some bytes arrive at the service, and it hears what they say, and nothing else."""
        end = self.link(at).service
        data = bytes(end.coming[:count])
        del end.coming[:count]
        if data:
            end.real.receive_data(data)
            end.received += len(data)
        assert self.hear(end) == list(end.expect())

    def hear(self, end: ServiceEnd) -> list[object]:
        """Hear everything that is there."""
        heard: list[object] = []
        if end.fault is not None:
            assert_for_ever(end)
            return heard
        while not isinstance(event := end.real.next_event(), Signal):
            heard.append(event.reply.status if isinstance(event, Violation) else event)
            if isinstance(event, ConnectionClosed):
                break
        return heard

    @rule(at=st.integers(0, 1), count=st.integers(1, 400))
    def deliver_to_runtime(self, at: int, count: int) -> None:
        """Some bytes arrive at the runtime, and it hears what they say, and nothing else."""
        end = self.link(at).runtime
        data = bytes(end.coming[:count])
        del end.coming[:count]
        if data:
            end.real.receive_data(data)
            end.received += len(data)
        for answer in end.expect():
            assert end.real.next_event() == answer
            if isinstance(answer, Invocation):
                self.heard.setdefault(end.law, []).append(answer)
        if end.fault is not None:
            assert_for_ever(end)
        else:
            assert isinstance(end.real.next_event(), Signal)

    @rule(at=st.integers(0, 1), reply=st.booleans(), to_service=st.booleans(), rarely=st.integers(0, 3))
    def garble(self, at: int, reply: bool, to_service: bool, rarely: int) -> None:
        """Where a head, a chunk or an answer should come, comes neither."""
        if not rarely and to_service:
            self.garble_to_service(at, reply=reply)
        elif not rarely:
            self.garble_to_runtime(at)

    def garble_to_service(self, at: int, *, reply: bool) -> None:
        """It is a fault for ever, that may be answered once."""
        end = self.link(at).service
        if (
            end.dead
            or end.fault is not None
            or end.coming
            or end.received > end.heard + 2 * (end.open is not None)
            or end.whole
        ):
            return
        if end.open is not None and not isinstance(end.open, ResponseStarted):
            return
        end.real.receive_data(NO_HEAD if end.open is None else NO_CHUNK)
        with pytest.raises(RemoteProtocolError) as caught:
            end.real.next_event()
        assert caught.value.reply is not None
        assert caught.value.reply.status == (end.refusal or 400)
        end.fault = str(caught.value)
        end.let_go()
        if reply:
            self.reply(at, caught.value.reply)

    def garble_to_runtime(self, at: int) -> None:
        """It is a fault for ever, and whatever was asked is over."""
        end = self.link(at).runtime
        if end.coming or end.received > end.heard or end.fault is not None:
            return
        end.real.receive_data(NO_HEAD)
        end.fail("")
        assert_for_ever(end)

    @rule(
        at=st.integers(0, 1),
        arrives=st.integers(0, 400),
        returns=st.integers(0, 400),
        how=st.sampled_from(["ends", "ends", "send failed", "abandoned"]),
    )
    def lose(self, at: int, arrives: int, returns: int, how: str) -> None:
        """The connection ends, with what was on its way cut anywhere; another one follows."""
        link = self.link(at)
        if how == "send failed":
            link.runtime.real.send_failed()
            link.runtime.dead = True
            assert link.runtime.real.must_close
        if how == "abandoned":
            link.runtime.real.abandon()
            link.runtime.let_go()
        self.deliver_to_service(at, arrives)
        self.end_at_service(at)
        if how != "abandoned":
            self.deliver_to_runtime(at, returns)
            self.end_at_runtime(link.runtime)
        assert link.runtime.real.must_close
        self.links[at] = self.connect(link.runtime.law, link.runtime.lifecycle)

    def end_at_service(self, at: int) -> None:
        """Hear the end: as such, or of a request that broke off, or while an answer is due that nobody may hear."""
        end = self.link(at).service
        end.real.receive_data(b"")
        if end.fault is not None:
            assert_for_ever(end)
        elif end.dead or (end.whole and not isinstance(end.open, POLLS)):
            assert self.hear(end) == []
            if end.open is not None:
                self.reply_as_is_due(at)
        elif (end.open is None and end.received == end.heard) or end.whole:
            assert self.hear(end) == [ConnectionClosed()]
        else:
            with pytest.raises(RemoteProtocolError) as caught:
                end.real.next_event()
            if end.open is not None:
                assert caught.value.reply is not None
                assert caught.value.reply.status == (end.refusal or 400)
        end.let_go()

    def end_at_runtime(self, end: RuntimeEnd) -> None:
        """Hear the end; an answer that broke off is none."""
        end.real.receive_data(b"")
        if end.fault is not None:
            assert_for_ever(end)
        else:
            assert end.real.next_event() == ConnectionClosed()
        end.let_go()

    # -- what must always be so

    @invariant()
    def answers_nothing_twice(self) -> None:
        """The service takes one answer to each attempt (RT-RESP-15)."""
        assert max(self.taken.values(), default=0) <= 1

    @invariant()
    def knows_the_same(self) -> None:
        """Both ends are where the model has them; with nothing on its way they agree on whose turn it is."""
        for link in self.links:
            runtime, service = link.runtime, link.service
            assert self.managed or service.lifecycle.state.value in NAMES[self.law.phase]  # type: ignore[union-attr]  # standard
            if self.honest:
                assert runtime.lifecycle.state.value in NAMES[runtime.law.phase]
                assert runtime.lifecycle.request_id == runtime.law.request_id
            over = runtime.dead or service.dead or service.fault is not None
            if not (runtime.coming or service.coming or over):
                assert runtime.real.turn is service.real.turn

    def teardown(self) -> None:
        """Whatever happened, a runtime that keeps the law goes on over new connections, and nothing is lost."""
        if self.honest:
            for at in range(2):
                self.lose(at, 0, 0, "ends")
            for at in range(2):
                self.finish(at)

    def finish(self, at: int) -> None:
        """Poll and answer: what the service thinks is running comes again (RT-NEXT-20), else something new.

        Where each slot has its own, that is new also for one that holds another (RT-MANAGED-15).
        """
        end = self.link(at).runtime
        if end.law.phase == "over":
            return
        running = self.law.request_id if self.law.phase == "running" else None
        self.exchange(at, NextAsked())
        assert end.law.phase == "running"
        assert running in (None, end.law.request_id)
        assert self.taken[self.respond(at)] == 1

    def respond(self, at: int) -> Invocation:
        """Answer what the runtime holds; return that."""
        end = self.link(at).runtime
        (held,) = [invocation for invocation in self.heard[end.law] if invocation.request_id == end.law.request_id][-1:]
        self.exchange(at, make(BufferedResponse, held.request_id, held.invocation_id, b""))
        assert end.law.phase == "answered"
        return held

    def exchange(self, at: int, event: Ask) -> None:
        """Say one thing, let it arrive, answer it, and let the answer arrive."""
        self.say(at, event)
        self.deliver_to_service(at, 10_000)
        self.reply_as_is_due(at)
        self.deliver_to_runtime(at, 10_000)

    def link(self, at: int) -> Link:
        return self.links[at]


def assert_for_ever(end: RuntimeEnd | ServiceEnd) -> None:
    """A remote fault is raised by every later call, in the same words; bytes that come after it change nothing."""
    said: set[str] = set()
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            end.real.next_event()
        said.add(str(caught.value))
        end.real.receive_data(b"HTTP/1.1 202 Accepted\r\n\r\n")
    assert len(said) == 1
    assert (end.fault or "") in said.pop()
    assert end.real.must_close


class StandardEnvironment(Environment):
    """Both connections carry one order of requests."""

    managed = False


class ManagedEnvironment(Environment):
    """Each connection is a slot of its own, and each invocation has an order of its own."""

    managed = True


TestStandardEnvironment = StandardEnvironment.TestCase
TestManagedEnvironment = ManagedEnvironment.TestCase
TestStandardEnvironment.settings = TestManagedEnvironment.settings = settings(max_examples=200, stateful_step_count=60)

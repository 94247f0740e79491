"""The law of both ends in other words than those of the package: what may be said, and what is then heard.

``Law`` and ``Managed`` are spec/states.md; the ends of a connection know besides what was delivered of what was said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

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
)
from lambda_wire._lifecycle import ManagedLifecycle, StandardLifecycle
from lambda_wire._runtime import RuntimeConnection
from lambda_wire._service import ServiceConnection

ResponseMode: TypeAlias = Literal["streaming", "buffered"]

MAX_PAYLOAD: Final = 64
MAX_STREAM: Final = 96
REPORTS: Final = (BufferedResponse, ResponseStarted, ErrorReported)
OF_SNAP_START: Final = (RestoreAsked, RestoreErrorReported)
ENDS: Final = (ResponseFinished, ResponseFailed)
POLLS: Final = (NextAsked, RestoreAsked)
KINDS: Final[tuple[type, ...]] = (
    *(*POLLS, *REPORTS, ResponseChunk, *ENDS),
    *(InitErrorReported, RestoreErrorReported, PingAsked),
)
#: What is no refusal, and answers what: everything else is accepted.
ANSWERED_BY: Final[dict[type, type]] = {NextAsked: Invocation, RestoreAsked: RestoreReady, PingAsked: Pong}
#: What the service calls each phase of the model.
NAMES: Final = {
    "started": ["Started"],
    "polling": ["Ready"],
    "running": ["Running"],
    "answering": ["InvocationResponse", "InvocationErrorResponse"],
    "answered": ["RuntimeResponseSentState"],
    "freezing": ["RestoreReady"],
    "restored": ["Restoring"],
    "over": ["InitError", "RuntimeRestoreErrorState"],
}


def make(kind: type, request_id: str, invocation_id: str, data: bytes, *, buffered: bool = False) -> Ask:
    """Return an event of this kind."""
    ids = {"request_id": request_id, "invocation_id": invocation_id}
    mode: ResponseMode = "buffered" if buffered else "streaming"
    made: dict[type, Ask] = {
        NextAsked: NextAsked(),
        BufferedResponse: BufferedResponse(payload=data, **ids),
        ResponseStarted: ResponseStarted(response_mode=mode, **ids),
        ResponseChunk: ResponseChunk(data=data or b"x"),
        ResponseFinished: ResponseFinished(),
        ResponseFailed: ResponseFailed(error_type="Function.E", error_body=data),
        ErrorReported: ErrorReported(error_type="Function.E", payload=data, **ids),
        InitErrorReported: InitErrorReported(error_type="Runtime.E", payload=data),
        RestoreAsked: RestoreAsked(),
        RestoreErrorReported: RestoreErrorReported(error_type="Runtime.E", payload=data),
        PingAsked: PingAsked(),
    }
    return made[kind]


# -- the law


class Law:
    """An environment in standard mode; also one slot, as the runtime's end knows it (states.md, ``LIFECYCLE``)."""

    LEGAL: Final[dict[str, tuple[type, ...]]] = {
        "started": (NextAsked, InitErrorReported, RestoreAsked),
        "polling": (NextAsked,),
        "running": (NextAsked, *REPORTS),
        "answering": (),
        "answered": (NextAsked,),
        "freezing": (),
        "restored": (NextAsked, InitErrorReported, RestoreErrorReported),
        "over": (),
    }

    def __init__(self, *, snap_start: bool = True) -> None:
        self.phase, self.request_id, self.snap_start = "started", "", snap_start

    def status(self, ask: type, request_id: str, invocation_id: str) -> int:
        """Return what an ask is refused with, and 0 where it is legal."""
        if ask is PingAsked:
            return 0
        if ask in OF_SNAP_START and not self.snap_start:
            return 404
        if ask in REPORTS and (not request_id or request_id != self.request_id):
            return 400
        return 0 if ask in self.LEGAL[self.phase] else 403

    def ask(self, ask: type, request_id: str) -> None:
        """A legal ask has begun."""
        if ask is NextAsked and self.phase != "running":
            self.phase, self.request_id = "polling", ""
        elif ask not in (NextAsked, PingAsked):
            self.phase = "answering" if ask in REPORTS else "freezing" if ask is RestoreAsked else "over"

    def end(self, ask: type, request_id: str, answer: type) -> None:
        """A legal ask was answered, but not with an invocation, or its connection closed."""
        if ask in REPORTS:
            self.phase = "answered"
        elif ask is RestoreAsked:
            self.phase = "restored" if answer is RestoreReady else "started"

    def refuse(self, ask: type, request_id: str) -> None:
        """An illegal ask has begun: nothing happened."""

    def refuse_mode(self, request_id: str) -> None:
        """A legal response has begun, in a mode that does not exist: nothing leads on from here."""

    def may_invoke(self, request_id: str) -> bool:
        return self.phase == "polling" or (self.phase == "running" and request_id == self.request_id)

    def may_bring(self) -> bool:
        """Say whether a poll may bring a runtime an invocation: another one, too, where it holds one."""
        return self.phase in ("polling", "running")

    def invoke(self, invocation: Invocation) -> None:
        self.phase, self.request_id = "running", invocation.request_id


class Managed(Law):
    """An environment in managed mode, as the service knows it (states.md, ``ATTEMPTS``)."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: dict[str, str] = {}
        self.echoes: dict[str, str] = {}

    def status(self, ask: type, request_id: str, invocation_id: str) -> int:
        if ask in OF_SNAP_START:
            return 404
        if ask not in REPORTS:
            return 403 if ask is InitErrorReported and self.phase == "over" else 0
        attempt = self.attempts.get(request_id)
        if attempt != "running":
            return 410 if attempt == "late" else 400
        return 410 if invocation_id not in ("", self.echoes[request_id]) else 0

    def ask(self, ask: type, request_id: str) -> None:
        if ask is InitErrorReported:
            self.phase = "over"
        elif ask in REPORTS:
            self.attempts[request_id] = "answering"

    def end(self, ask: type, request_id: str, answer: type) -> None:
        if ask in REPORTS:
            del self.attempts[request_id]

    def refuse(self, ask: type, request_id: str) -> None:
        if ask in REPORTS and self.attempts.get(request_id) == "late":
            del self.attempts[request_id]

    def refuse_mode(self, request_id: str) -> None:
        del self.attempts[request_id]

    def may_invoke(self, request_id: str) -> bool:
        return self.attempts.get(request_id, "late") == "late"

    def invoke(self, invocation: Invocation) -> None:
        self.attempts[invocation.request_id] = "running"
        self.echoes[invocation.request_id] = invocation.invocation_id


class Lawless(Law):
    """What holds for a runtime that knows no law but its connection's."""

    def status(self, ask: type, request_id: str, invocation_id: str) -> int:
        return 0

    def may_bring(self) -> bool:
        return True


class LawlessLifecycle(StandardLifecycle):
    """Lets a runtime say anything, so that the service has something to judge."""

    def judge(self, ask: type, request_id: str, invocation_id: str) -> None:
        return None

    def asked(self, ask: type, request_id: str) -> None:
        """Nothing follows from it."""

    def answered(self, ask: type, request_id: str, answer: type) -> None:
        """Nor from this."""

    @property
    def invocable(self) -> bool:
        return True

    def invoked(self, invocation: Invocation) -> None:
        self.request_id = invocation.request_id


# -- one connection


def named(event: Ask) -> tuple[type, str, str]:
    """Return what an ask is judged by."""
    return type(event), getattr(event, "request_id", ""), getattr(event, "invocation_id", "")


class RuntimeEnd:
    """The runtime's end of one connection: what it may say, and what it must hear."""

    def __init__(self, law: Law, lifecycle: StandardLifecycle) -> None:
        self.real = RuntimeConnection(host="h", lifecycle=lifecycle)
        self.law, self.lifecycle = law, lifecycle
        self.open: Ask | None = None
        """The request whose answer is due."""
        self.whole = True
        self.dead = False
        self.fault: str | None = None
        """A part of what is said of the fault that was found here."""
        self.coming = bytearray()
        self.written = self.received = self.heard = 0
        """How many bytes were sent here, how many have arrived, and how many belong to what was heard."""
        self.due: deque[tuple[int, Answer, bool]] = deque()
        """Each answer on its way, where it ends, and whether its connection ends with it."""

    def may_say(self, event: Ask) -> bool:
        if isinstance(event, (ResponseChunk, *ENDS)):
            return isinstance(self.open, ResponseStarted) and not self.whole and not self.dead
        return self.open is None and not self.dead and not self.law.status(*named(event))

    def say(self, event: Ask) -> None:
        if isinstance(event, (ResponseChunk, *ENDS)):
            self.whole = isinstance(event, ENDS)
        else:
            self.law.ask(*named(event)[:2])
            self.open, self.whole = event, not isinstance(event, ResponseStarted)

    def expect(self) -> Iterator[Answer]:
        """Yield what must be heard now."""
        while self.due and self.due[0][0] <= self.received and self.fault is None:
            self.heard, answer, last = self.due.popleft()
            asked, self.dead = self.open, self.dead or last or not self.whole
            if isinstance(answer, Invocation):
                if not self.law.may_bring():
                    self.fail("holds another")
                    return
                self.law.invoke(answer)
            elif asked is not None:
                self.law.end(*named(asked)[:2], type(answer))
            self.open, self.whole = None, True
            yield answer
        if self.open is None and self.received > self.heard:
            self.dead = True  # what was said unasked answers no later request

    def fail(self, reason: str) -> None:
        self.fault, self.dead = reason, True
        self.let_go()

    def let_go(self) -> None:
        if self.open is not None:
            self.law.end(*named(self.open)[:2], ConnectionClosed)
        self.open = None

    def seen(self) -> tuple[object, ...]:
        real, life = self.real, self.lifecycle
        return real.turn, real.must_close, real.idle, real.awaiting_answer, real.polling, life.state, life.request_id


class ServiceEnd:
    """The service's end of one connection."""

    def __init__(self, law: Law, lifecycle: StandardLifecycle | ManagedLifecycle) -> None:
        self.real = ServiceConnection(lifecycle, max_payload=MAX_PAYLOAD, max_stream=MAX_STREAM)
        self.law, self.lifecycle = law, lifecycle
        self.open: Ask | None = None
        """The request that has begun and is not answered."""
        self.whole = False
        self.holds = False
        """Whether its answer moves the environment on."""
        self.refusal = self.size = 0
        self.dead = False
        self.fault: str | None = None
        self.coming = bytearray()
        self.written = self.received = self.heard = 0
        self.due: deque[tuple[int, Ask, str]] = deque()
        """Each head, part and end on its way, and where it ends."""

    def expect(self) -> Iterator[Ask | int]:
        """Yield what must be heard now; a violation as the status that it is refused with."""
        while self.due and self.due[0][0] <= self.received and not self.dead and self.fault is None:
            self.heard, event, what = self.due.popleft()
            if what in ("head", "bad mode"):
                yield from self.judge(event, bad_mode=what == "bad mode")
            elif isinstance(event, ResponseChunk):
                self.size += len(event.data)
                self.refusal = self.refusal or 413 * (self.size > self.limit())
                if not self.refusal:
                    yield event
            else:
                self.whole = True
                oversize = not isinstance(event, ENDS) and len(getattr(event, "payload", b"")) > MAX_PAYLOAD
                self.refusal = self.refusal or 413 * oversize
                yield self.refusal or event

    def judge(self, event: Ask, *, bad_mode: bool) -> Iterator[Ask]:
        self.open, self.whole, self.size = event, False, 0
        self.refusal, self.holds = self.law.status(*named(event)), False
        if self.refusal:
            return self.law.refuse(*named(event)[:2])
        self.law.ask(*named(event)[:2])
        if bad_mode:
            self.refusal = 400
            return self.law.refuse_mode(named(event)[1])
        self.holds = True
        if isinstance(event, ResponseStarted):
            yield event

    def limit(self) -> int:
        streams = isinstance(self.open, ResponseStarted) and self.open.response_mode == "streaming"
        return MAX_STREAM if streams else MAX_PAYLOAD

    def may_say(self, event: Answer) -> bool:
        if self.dead or isinstance(event, Continue):  # this runtime never waits for one
            return False
        if isinstance(event, Refused):
            return True
        if self.open is None or self.refusal or not self.whole:
            return False
        if not isinstance(event, ANSWERED_BY.get(type(self.open), Accepted)):
            return False
        return not isinstance(event, Invocation) or self.law.may_invoke(event.request_id)

    def say(self, event: Answer) -> None:
        if isinstance(event, Invocation):
            self.law.invoke(event)
            self.holds = False
        self.let_go(type(event))
        self.dead, self.whole = self.dead or not self.whole, False

    def let_go(self, answer: type = ConnectionClosed) -> None:
        if self.holds and self.open is not None:
            self.law.end(*named(self.open)[:2], answer)
        self.open, self.holds, self.refusal = None, False, 0

    def seen(self) -> tuple[object, ...]:
        life = self.lifecycle
        state = (life.state, life.request_id) if isinstance(life, StandardLifecycle) else dict(life.attempts)
        return self.real.turn, self.real.must_close, state


class Link:
    """Both ends of one connection."""

    def __init__(self, runtime: RuntimeEnd, service: ServiceEnd) -> None:
        self.runtime, self.service = runtime, service

"""Services that fail at one byte of one request or its answer, without a socket; and a driver that needs none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from lambda_wire._errors import ConnectionLost
from lambda_wire._events import (
    Accepted,
    Invocation,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseStarted,
    RestoreAsked,
    RestoreReady,
    Violation,
)
from lambda_wire._facade import Caller, Runtime
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._state import Turn
from lambda_wire._wants import Dial, Exchange, Hangup, Read, Want, Write
from tests.driver_parts import Blocking

T = TypeVar("T")
PIECES: Final = (b"one", b"two", b"three")


class Trouble(Enum):
    """What the service does at one byte of the request, or of the answer."""

    NONE = "none"
    REQUEST_FIN = "reads so much of the request, and ends"
    REQUEST_RST = "reads so much of the request, and resets"
    REFUSAL = "reads so much of the request, and refuses it"
    ANSWER_FIN = "writes so much of the answer, and ends"
    ANSWER_RST = "writes so much of the answer, and resets"
    SPLIT = "writes so much of the answer, and then the rest"
    STALL = "writes so much of the answer, and the rest when it is told to"

    @property
    def in_request(self) -> bool:
        return self in (Trouble.REQUEST_FIN, Trouble.REQUEST_RST, Trouble.REFUSAL)

    @property
    def resets(self) -> bool:
        return self in (Trouble.REQUEST_RST, Trouble.ANSWER_RST)


class Plan(NamedTuple):
    """Which request of the first connection is in trouble, where, and with what status it is refused."""

    trouble: Trouble = Trouble.NONE
    request: int = 0
    at: int = 0
    status: int = 413


class Role(Protocol):
    """A service's end of one connection, of either API."""

    @property
    def must_close(self) -> bool:
        """Whether this was the last answer."""
        ...  # checkers want it

    def receive_data(self, data: bytes) -> None:
        """Take bytes."""

    def abandon(self) -> None:
        """Give it up."""

    def next_event(self) -> Any:
        """Return what was said."""


class CutService:
    """A service whose first connection is in trouble once, and which is as it should be otherwise.

    Attributes:
        heard: Every request that was read whole, or judged.
        violations: What of it broke the law.
        given: Ids of the invocations that were handed out.
        accepted: How many answers to each were taken.
        connections: How many were made.
        sizes: Of each request of the first connection and of its answer, in bytes.
        ends: Whether the connection ends now, after what was said.
        held_back: What is said when it is told to go on.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.heard: list[object] = []
        self.violations: list[object] = []
        self.given: list[str] = []
        self.accepted: Counter[str] = Counter()
        self.connections = 0
        self.sizes: list[tuple[int, int]] = []
        self.ends = False
        self.held_back = b""
        self._requests = 0
        """How many this connection has answered."""
        self._size = 0
        """Of what has come of the present one."""
        self._role = self.new_role()

    # -- what the two APIs differ in

    def new_role(self) -> Role:
        raise NotImplementedError

    def answer(self, event: object) -> bytes | None:
        """Return what is said to an event, ``None`` where nothing is said yet."""
        raise NotImplementedError

    def refuse(self, status: int) -> bytes:
        raise NotImplementedError

    # -- a connection

    @property
    def _in_trouble(self) -> bool:
        return self.connections == 1 and self._requests == self.plan.request and not self.ends

    def dialled(self) -> list[bytes]:
        """Begin another connection; return what is said at once."""
        self.gone()
        self.connections += 1
        self.ends, self._requests, self._size, self._role = False, 0, 0, self.new_role()
        return self._until_trouble()

    def room(self) -> int:
        """Return how many bytes may come before something happens."""
        in_request = self._in_trouble and self.plan.trouble.in_request
        return self.plan.at - self._size if in_request and self._size < self.plan.at else 65_536

    def hear(self, data: bytes) -> list[bytes]:
        """Take bytes; return what is said to them, each piece in a write of its own."""
        self._role.receive_data(data)
        self._size += len(data)
        if said := self._until_trouble():
            return said
        while not self.ends and not isinstance(event := self._role.next_event(), Signal):
            self.heard.append(event)
            if (said_now := self.answer(event)) is not None:
                return self._say(said_now)
        return []

    def _until_trouble(self) -> list[bytes]:
        """Do to the request what is planned for it, when so much has come."""
        plan = self.plan
        if not (self._in_trouble and plan.trouble.in_request and self._size == plan.at):
            return []
        while not isinstance(event := self._role.next_event(), Signal):
            self.heard.append(event)
        if plan.trouble is not Trouble.REFUSAL:
            self._lose()
            return []
        self._requests, self._size = self._requests + 1, 0
        said = self.refuse(plan.status)
        self.ends = self._role.must_close
        return [said[: len(said) // 2], said[len(said) // 2 :]]

    def _say(self, data: bytes) -> list[bytes]:
        if self.connections == 1:
            self.sizes.append((self._size, len(data)))
        plan, troubled = self.plan, self._in_trouble
        self._requests, self._size = self._requests + 1, 0
        first, rest = data[: plan.at], data[plan.at :]
        if not troubled or plan.trouble.in_request or plan.trouble is Trouble.NONE:
            return [data, *self._until_trouble()]
        if plan.trouble is Trouble.SPLIT:
            return [first, rest]
        if plan.trouble is Trouble.STALL:
            self.held_back = rest
        else:
            self._lose()
        return [first]

    def _lose(self) -> None:
        self.ends = True
        self.gone()

    def gone(self) -> None:
        """The connection has ended."""
        self._role.abandon()


class CutRuntimeApi(CutService):
    """The Runtime API, with SnapStart."""

    def __init__(self, plan: Plan) -> None:
        self.lifecycle = StandardLifecycle(snap_start=True)
        super().__init__(plan)

    def new_role(self) -> ServiceConnection:
        self.connection = ServiceConnection(self.lifecycle)
        return self.connection

    def answer(self, event: object) -> bytes | None:
        match event:
            case ResponseStarted() | ResponseChunk():
                return None
            case Violation():
                self.violations.append(event)
                return self.connection.send(event.reply)
            case NextAsked():
                return self.connection.send(self._invocation())
            case RestoreAsked():
                return self.connection.send(RestoreReady())
            case _:
                self.accepted[self.lifecycle.request_id] += 1
                return self.connection.send(Accepted())

    def _invocation(self) -> Invocation:
        """Return the one that runs, once more, or the next (RT-NEXT-20)."""
        request_id = self.lifecycle.request_id or f"id-{len(self.given)}"
        if request_id not in self.given:
            self.given.append(request_id)
        return Invocation(request_id=request_id, payload=b"{}", invocation_id="a")

    def refuse(self, status: int) -> bytes:
        return self.connection.send(refused(status))


class CutLambda(CutService):
    """Lambda, as callers see it."""

    def new_role(self) -> InvokeServiceConnection:
        self.connection = InvokeServiceConnection()
        return self.connection

    def answer(self, event: object) -> bytes | None:
        assert isinstance(event, InvokeAsked)
        answers: list[InvokeAnswer] = [InvokeAnswered(payload=event.payload)]
        if event.streaming:
            answers = [InvokeAccepted(), *(PayloadChunk(payload=piece) for piece in PIECES), InvokeComplete()]
        return b"".join(map(self.connection.send, answers))

    def refuse(self, status: int) -> bytes:
        if self.connection.turn is not Turn.AWAITING:  # the role refuses no call that has not come
            self._role = self.new_role()
            self._role.receive_data(
                b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            )
            self._role.next_event()
        return self.connection.send(call_refused(status))


def refused(status: int) -> Refused:
    return Refused(status=status, error_type="E", error_message="no")


def call_refused(status: int) -> InvokeRefused:
    return InvokeRefused(status=status, error_type="E", message="no")


# -- a driver without sockets


class _Wire:
    """Answers wants from a service in the same thread.

    Args:
        service: What is dialled.
        session: Whose conversations are held.
        slow: Whether a write is interrupted by what the service says, as one that blocks is, and a kept connection is
            always looked at first.
    """

    def __init__(self, service: CutService, session: Any, *, slow: bool) -> None:
        self._service, self._session, self._slow = service, session, slow
        self._inbox: list[bytes] = []

    def run(self, exchange: Exchange[T], timeout: float | None = None) -> T:
        self._session.quiet_s = 3600.0 if self._slow else 0.0
        try:
            want = next(exchange)
            while True:
                try:
                    answer = self._do(want)
                except (ConnectionLost, TimeoutError) as fault:
                    want = exchange.throw(fault)
                else:
                    want = exchange.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def close(self) -> None:
        self._session.closed = True

    def _do(self, want: Want) -> bytes:
        match want:
            case Dial():
                self._inbox = self._without_nothing(self._service.dialled())
            case Hangup():
                self._service.gone()
            case Read():
                return self._read()
            case Write():
                return self._write(want)
        return b""

    @staticmethod
    def _without_nothing(said: Iterable[bytes]) -> list[bytes]:
        return [piece for piece in said if piece]

    def _read(self) -> bytes:
        if self._inbox:
            return self._inbox.pop(0)
        if self._service.ends and self._service.plan.trouble.resets:
            raise ConnectionLost("reset")
        if not self._service.ends:
            assert self._service.held_back, "the conversation waits for ever"
            self._inbox, self._service.held_back = [self._service.held_back], b""
            raise TimeoutError
        return b""

    def _write(self, want: Write) -> bytes:
        service = self._service
        if want.look_first and self._inbox:
            return self._inbox.pop(0)
        if want.look_first and service.ends:
            raise ConnectionLost("the service has closed the connection")
        while not want.done:
            if service.ends and service.plan.trouble.resets:
                raise ConnectionLost("reset")
            if self._slow and self._inbox:
                return self._inbox.pop(0)
            (buffer,) = want.next_buffers(1)
            taken = bytes(buffer[: service.room()])
            want.advance(len(taken))
            if not service.ends:  # what comes after that is thrown away
                self._inbox += self._without_nothing(service.hear(taken))
        return b""


class Socketless(Blocking):
    """The blocking facade over a service in the same thread: its conversations are the generators of all drivers."""

    def __init__(self, name: str, *, slow: bool) -> None:
        super().__init__(name)
        self._slow = slow
        self.service: CutService

    def connect(self, address: str, **options: Any) -> Runtime:
        made = super().connect(address, **options)
        self._rewire(made)
        return made

    def connect_caller(self, endpoint: str, **options: Any) -> Caller:
        made = super().connect_caller(endpoint, **options)
        self._rewire(made)
        return made

    def _rewire(self, awaited: Any) -> None:
        real = awaited._real
        real._wire = _Wire(self.service, real._session, slow=self._slow)

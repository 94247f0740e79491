"""AWS's emulator in managed-instances mode and our service role beside each other, for any number of slots.

The runtime in the emulator does nothing; its polls and answers are ours. One environment serves many sequences: each
leaves no poll and no invocation behind. Where one could not, or has reported that the start failed, the next sequence
gets a new emulator, which takes a fifth of a second.
"""

from __future__ import annotations

import os
import select
import shlex
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import Final, TypeAlias

from lambda_wire._events import Invocation
from lambda_wire._lifecycle import ManagedLifecycle
from lambda_wire._service import ServiceConnection
from lambda_wire._state import Attempt, Turn
from tests.beside import (
    INIT_ERROR,
    LARGE,
    PATIENCE_S,
    PREFIX,
    PROBE,
    EmulatorSide,
    Said,
    ServiceSide,
    Step,
    id_of,
    payload_of,
    post,
)
from tests.real_parts import Emulator, running_managed_emulator

SLOTS: Final = 2
"""What the emulator is told; neither it nor we compare it with the number of polls."""
MOST: Final = 20
"""So many invocations are in a sequence at most."""
ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:test_function"
LAST: Final = 99
"""The connection on which what is left is answered."""
MOMENT_S: Final = 3.0
_BOOTSTRAP: Final = "#!/bin/sh\necho up > {}\nexec tail -f /dev/null\n"


class Event(Enum):
    """What others than the runtime do."""

    INVOKE = "INVOKE"
    """The function is invoked, and the poll that has waited longest is answered."""
    EXPIRE = "EXPIRE"
    """The deadline passes of each invocation that nobody has begun to answer."""


INVOKE: Final = Event.INVOKE
EXPIRE: Final = Event.EXPIRE
Move: TypeAlias = Step | Event


def id_mark(index: int) -> bytes:
    """Return what stands for the id of an invocation of this sequence, from 1 on; 0 is of one before it."""
    return b"@id-%d@" % index


def echo_mark(index: int) -> bytes:
    """Return what stands for its ``Lambda-Runtime-Invocation-Id``."""
    return b"@echo-%d@" % index


class Ours(ServiceSide):
    """Service roles that share one managed instance.

    Attributes:
        waiting: The connections with a poll that waits, the oldest first.
    """

    def __init__(self, first: int) -> None:
        self._environment = ManagedLifecycle()
        super().__init__(self._environment)
        self._first = first
        self._echoes: list[str] = []
        self.waiting: list[int] = []

    @property
    def open(self) -> list[str]:
        """The ids of the invocations that have no answer yet, and time left for it."""
        attempts = self._environment.attempts
        return [request_id for request_id, attempt in attempts.items() if attempt is not Attempt.EXPIRED]

    @property
    def sending(self) -> list[int]:
        """The connections on which a request has begun and not ended."""
        return [number for number, (connection, _) in self._lines.items() if connection.turn is Turn.SENDING]

    @property
    def connections(self) -> list[int]:
        """Those that are not closed."""
        return list(self._lines)

    def meant(self, data: bytes) -> bytes:
        """Return a request with what its marks stand for."""
        echoes = ["none", *self._echoes]
        for index in range(MOST + 1):
            echo = echoes[index] if index < len(echoes) else "none-yet"
            data = data.replace(id_mark(index), id_of(self._first + index - 1).encode())
            data = data.replace(echo_mark(index), echo.encode())
        for mark, meant in LARGE.items():
            data = data.replace(mark, meant)
        return data

    def invoke(self, echo: str) -> Said:
        """Return what is said to the oldest poll when the function is invoked."""
        number = self._first + len(self._echoes)
        self._echoes.append(echo)
        connection, line = self._lines[self.waiting.pop(0)]
        line.raw += connection.send(
            Invocation(
                request_id=id_of(number),
                payload=payload_of(number),
                deadline_ms=1,
                invoked_function_arn=ARN,
                invocation_id=echo,
            )
        )
        line.ended = connection.must_close
        return line.news()

    def expire(self) -> None:
        """Let the deadline of all invocations pass."""
        for request_id in self.open:
            self._environment.expire(request_id)

    def drop(self, connection: int) -> None:
        """Forget one that was closed: who uses it again opens it anew."""
        del self._lines[connection]

    def _polled(self, number: int, connection: ServiceConnection) -> bytes:
        self.waiting.append(number)
        return b""


class Theirs:
    """An emulator, and another one when it can serve no more.

    Args:
        room: A directory for its runtimes.
        timeout_s: The function timeout, in seconds.
    """

    def __init__(self, room: Path, timeout_s: int) -> None:
        self._bootstrap = _BOOTSTRAP.format(shlex.quote(str(room / "up")))
        os.mkfifo(room / "up")
        self._up = os.open(room / "up", os.O_RDWR)
        self._timeout_s = timeout_s
        self._running = ExitStack()
        self._callers = ThreadPoolExecutor(MOST)
        self._emulator: Emulator | None = None
        self.number = 1
        """Of the next invocation."""

    @contextmanager
    def environment(self) -> Generator[Environment, None, None]:
        """Go on with an environment that is as good as new."""
        if self._emulator is None:
            fresh = running_managed_emulator(self._bootstrap, timeout_s=self._timeout_s, slots=SLOTS)
            self._emulator = self._running.enter_context(fresh)
            os.read(self._up, 3)  # before that the emulator drops the connection of an init error
        environment = Environment(self, self._emulator)
        try:
            yield environment
        finally:
            environment.close()
            if not environment.is_as_new:
                self._end()

    def invoke(self, emulator: Emulator) -> Future[object]:
        """Invoke the function, and do not wait for what becomes of it."""
        number, self.number = self.number, self.number + 1
        return self._callers.submit(emulator.invoke, payload_of(number), {"X-Amzn-RequestId": id_of(number)})

    def stop(self) -> None:
        """Let go of it."""
        self._end()
        self._callers.shutdown()
        os.close(self._up)

    def _end(self) -> None:
        self._emulator = None
        self._running.close()


class Environment(EmulatorSide):
    """A managed instance of an emulator.

    Attributes:
        first: The number of its first invocation.
        is_as_new: Whether another sequence may go on with it.
    """

    def __init__(self, theirs: Theirs, emulator: Emulator) -> None:
        host, _, port = emulator.runtime_api.partition(":")
        super().__init__((host, int(port)), moment_s=MOMENT_S, may_be_silent=True)
        self._theirs = theirs
        self._emulator = emulator
        self._callers: dict[str, Future[object]] = {}
        self.first = theirs.number
        self.is_as_new = False

    def invoke(self, waiting: Sequence[int]) -> tuple[Said, str]:
        """Return what is said to a poll when the function is invoked, and the id of the attempt.

        Polls come on several connections, so it cannot be known which of them was the first. The one that is answered
        is taken for it: they do not differ in anything else.
        """
        request_id = id_of(self._theirs.number)
        self._callers[request_id] = self._theirs.invoke(self._emulator)
        wires = {self._lines[number][0]: number for number in waiting}
        ready, _, _ = select.select(list(wires), [], [], PATIENCE_S)
        assert ready, f"no poll is answered:\n{self._emulator.log[-4000:]}"
        answered, first = wires[ready[0]], waiting[0]
        self._lines[first], self._lines[answered] = self._lines[answered], self._lines[first]
        wire, line = self._lines[first]
        self._read(wire, line, (len(line.taken.messages) + 1, 0))
        said = line.news()
        return said, dict(said.messages[0][1]).get("lambda-runtime-invocation-id", "")

    def settle(self, running: Sequence[str]) -> None:
        """Wait until the callers of all invocations but these have their answers; these must have none."""
        for request_id, caller in self._callers.items():
            if request_id not in running:
                caller.result(PATIENCE_S)
            else:
                assert not caller.done(), f"{request_id} is answered"

    def drop(self, connection: int) -> None:
        """Forget one that was closed."""
        self._lines.pop(connection)[0].close()


@contextmanager
def running_managed_beside(room: Path, *, timeout_s: int = 300) -> Generator[Theirs, None, None]:
    """Run emulators for many sequences.

    Args:
        room: A directory for their runtimes.
        timeout_s: The function timeout, in seconds.
    """
    theirs = Theirs(room, timeout_s)
    try:
        yield theirs
    finally:
        theirs.stop()


def _rest(ours: Ours) -> Iterator[Move]:
    """Yield what ends all that was begun: streams, polls, invocations, connections."""
    for connection in ours.sending:
        yield Step(connection, b"0\r\n\r\n", ())
    while ours.waiting:
        yield INVOKE
    for request_id in ours.open:
        yield Step(LAST, post(PREFIX + b"/invocation/%b/response" % request_id.encode(), b"", b""), ("POST",))
    for connection in ours.connections:
        yield Step(connection, PROBE, end=True)


def both(theirs: Theirs, moves: Sequence[Move]) -> Generator[tuple[Move, Said, Said], None, None]:
    """Do the same to both; yield each step, what we answered and what they did.

    At last all that is open is answered, and each connection is asked whether it is still there. Left out are an
    invocation for which no poll waits, and more of a request that was answered before its end. A connection that both
    have closed is opened anew when it is used again.
    """
    with theirs.environment() as environment:
        ours = Ours(environment.first)
        tells_of_init = False
        for move in (step for some in (moves, _rest(ours)) for step in some):
            if move is EXPIRE:
                ours.expire()
            elif move is INVOKE and ours.waiting:
                heard, echo = environment.invoke(ours.waiting)
                yield move, ours.invoke(echo), heard
            elif isinstance(move, Step) and (move.methods or move.connection in ours.sending):
                data = ours.meant(move.data)
                said = ours.hear(move, data)
                heard = environment.hear(move, data, said)
                yield move, said, heard
                if said.closed and heard.closed:
                    ours.drop(move.connection)
                    environment.drop(move.connection)
                tells_of_init |= INIT_ERROR in data
            environment.settle(ours.open)
        environment.is_as_new = not tells_of_init

"""AWS's emulator and our service role beside each other: the same bytes to both, and what each of them made of it.

One emulator serves many sequences of requests. Its runtime is a shell that says when it was started, and ends when it
is told to: then the emulator begins a new environment with the next invocation. So a sequence costs milliseconds.
"""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lambda_wire._events import Invocation
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._service import ServiceConnection
from lambda_wire._state import State
from tests.beside import LARGE, PATIENCE_S, PROBE, EmulatorSide, Said, ServiceSide, Step, id_of, payload_of
from tests.real_parts import Emulator, running_emulator

ID: Final = b"@now@"
"""Stands in a request for the id of the invocation that came last."""
OLD: Final = b"@old@"
"""Stands for the id of the one before."""
NEW: Final = b"@new@"
"""Stands for the id of the next one."""
ARN: Final = "arn:aws:lambda:us-east-1:012345678912:function:test_function"
_RUNTIME: Final = "echo up > up; read line < down"


class Ours(ServiceSide):
    """Service roles that share one environment, with an invocation for each poll that may have one."""

    def __init__(self, first: int) -> None:
        self._environment = StandardLifecycle()
        super().__init__(self._environment)
        self._number = first - 1

    @property
    def ids(self) -> dict[bytes, bytes]:
        """What stands for ids, and the ids: of the invocation that came last, the one before and the one after."""
        return {mark: id_of(self._number + step).encode() for mark, step in ((ID, 0), (OLD, -1), (NEW, 1))}

    def _polled(self, number: int, connection: ServiceConnection) -> bytes:
        if self._environment.state is not State.RUNNING:
            self._number += 1
        return connection.send(
            Invocation(
                request_id=id_of(self._number),
                payload=payload_of(self._number),
                deadline_ms=1,
                invoked_function_arn=ARN,
            )
        )


class Theirs:
    """An emulator, for one environment after the other."""

    def __init__(self, emulator: Emulator, room: Path) -> None:
        self._emulator = emulator
        self._up = os.open(room / "up", os.O_RDWR)
        self._down = os.open(room / "down", os.O_RDWR)
        self.number = 1
        """Of the next invocation."""

    @contextmanager
    def environment(self) -> Generator[Environment, None, None]:
        """Have it begin anew."""
        environment = Environment(self)
        try:
            os.read(self._up, 3)
            yield environment
        finally:
            environment.over = True
            os.write(self._down, b"\n")
            environment.close()

    def invoke(self) -> None:
        """Invoke the function once, whatever becomes of it."""
        number, self.number = self.number, self.number + 1
        self._emulator.invoke(payload_of(number), {"X-Amzn-RequestId": id_of(number)})

    @property
    def address(self) -> tuple[str, int]:
        """Where its Runtime API is."""
        host, _, port = self._emulator.runtime_api.partition(":")
        return host, int(port)

    def stop(self) -> None:
        """Let go of it."""
        os.close(self._up)
        os.close(self._down)


class Environment(EmulatorSide):
    """One environment of an emulator: there is always an invocation, until it is over."""

    def __init__(self, theirs: Theirs) -> None:
        super().__init__(theirs.address)
        self._theirs = theirs
        self.first = theirs.number
        self.over = False
        self._fault: BaseException | None = None
        self._caller = threading.Thread(target=self._call)
        self._caller.start()

    def _call(self) -> None:
        try:
            while not self.over:
                self._theirs.invoke()
        except (OSError, http.client.HTTPException) as fault:
            self._fault = fault

    def close(self) -> None:
        """Wait until it is over."""
        super().close()
        self._caller.join(PATIENCE_S)
        assert not self._caller.is_alive(), "the emulator does not let go of its caller"
        if self._fault is not None:
            raise self._fault


@contextmanager
def running_beside(room: Path) -> Generator[Theirs, None, None]:
    """Run an emulator for many environments.

    Args:
        room: A directory for its runtimes.
    """
    for name in ("up", "down"):
        os.mkfifo(room / name)
    with running_emulator(["/bin/sh", "-c", _RUNTIME], cwd=room, timeout_s=300) as emulator:
        theirs = Theirs(emulator, room)
        try:
            yield theirs
        finally:
            theirs.stop()


def both(theirs: Theirs, steps: Sequence[Step]) -> Generator[tuple[Step, Said, Said], None, None]:
    """Do the same to both; yield each step, what we answered and what they did.

    At last each connection is asked whether it is still there, and is told that no more comes.
    """
    last = [Step(connection, PROBE, end=True) for connection in sorted({step.connection for step in steps})]
    with theirs.environment() as environment:
        ours = Ours(environment.first)
        for step in (*steps, *last):
            data = step.data
            for mark, meant in (ours.ids | LARGE).items():
                data = data.replace(mark, meant)
            said = ours.hear(step, data)
            yield step, said, environment.hear(step, data, said)

"""AWS's emulator and our service role beside each other: the same bytes to both, and what each of them made of it.

One emulator serves many sequences of requests. Its runtime is a shell that says when it was started, and ends when it
is told to: then the emulator begins a new environment with the next invocation. So a sequence costs milliseconds.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from lambda_wire import _limits as limits
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    ResponseChunk,
    ResponseStarted,
    Violation,
)
from lambda_wire._http11 import MessageReader
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._messages import MalformedMessage, MessageEnd, ResponseHead
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Role, Signal
from lambda_wire._state import State
from tests.real_parts import Emulator, running_emulator

PREFIX: Final = b"/2018-06-01/runtime"
ID: Final = b"@now@"
"""Stands in a request for the id of the invocation that came last."""
OLD: Final = b"@old@"
"""Stands for the id of the one before."""
ARN: Final = "arn:aws:lambda:us-east-1:012345678912:function:test_function"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
NEW: Final = b"@new@"
"""Stands for the id of the next one."""
LARGE: Final = {b"@%d@" % size: bytes(size) for size in (limits.MAX_PAYLOAD, limits.MAX_PAYLOAD + 1)}
"""Stands for so many bytes."""
PROBE: Final = b"GET /2018-06-01/ping HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE_S: Final = 30.0
MOMENT_S: Final = 1.0
"""How long the emulator is waited for before it is told that no more bytes come, where it says less than we do."""

#: Fields that only say how a body is framed, or when.
_UNCOMPARED: Final = {"content-length", "date", "transfer-encoding"}
_RUNTIME: Final = "echo up > up; read line < down"

Message: TypeAlias = tuple[int, tuple[tuple[str, str], ...], bytes]
"""Status, fields without those of framing and time, and body."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a runtime does: send so many bytes on one of its connections.

    Attributes:
        connection: Which; the first step on it opens it.
        data: The bytes, ``ID`` and ``OLD`` for ids.
        methods: Of the requests in them.
        end: Whether no more bytes come on it.
    """

    connection: int
    data: bytes
    methods: tuple[str, ...] = ("GET",)
    end: bool = False


@dataclass(slots=True)
class Said:
    """What one end answered to a step.

    Attributes:
        messages: Its final answers.
        continues: How often it said ``100 Continue``.
        closed: Whether it ended the connection; unknown, and so ``False``, where the other one did not.
    """

    messages: list[Message] = field(default_factory=list)
    continues: int = 0
    closed: bool = False


class Line:
    """What came on one connection."""

    def __init__(self) -> None:
        self.raw = b""
        self.methods: list[str] = []
        self.ended = False
        self.taken = Said()

    def read(self) -> Said:
        """Return all that was said."""
        reader = MessageReader(Role.CLIENT)
        said = Said(continues=self.raw.count(CONTINUE), closed=self.ended)
        reader.receive_data(self.raw)
        if self.ended:
            reader.receive_data(b"")
        for method in (*self.methods, *["GET"] * 9):
            reader.expect(method)
            message = _next_message(reader)
            if message is None:
                break
            said.messages.append(message)
        return said

    def news(self) -> Said:
        """Return what was said since the last time."""
        said, before = self.read(), self.taken
        self.taken = said
        return Said(said.messages[len(before.messages) :], said.continues - before.continues, said.closed)


def _next_message(reader: MessageReader) -> Message | None:
    head, body = None, b""
    while True:
        try:
            part = reader.next_event()
        except MalformedMessage:  # a text behind the refusal of a HEAD that could not be read
            return None
        match part:
            case ResponseHead():
                head = part
            case bytes():
                body += part
            case MessageEnd():
                assert head is not None
                reader.start_next()
                return _message(head, body)
            case _:
                return None


def _message(head: ResponseHead, body: bytes) -> Message:
    fields = {pair for pair in head.headers if pair[0] not in _UNCOMPARED}
    return head.status, tuple(sorted((k, "*" if k == "lambda-runtime-deadline-ms" else v) for k, v in fields)), body


class Ours:
    """Service roles that share one environment, with an invocation for each poll that may have one."""

    def __init__(self, first: int) -> None:
        self._lifecycle = StandardLifecycle()
        self._number = first - 1
        self._lines: dict[int, tuple[ServiceConnection, Line]] = {}

    @property
    def state(self) -> State:
        """Where the environment is."""
        return self._lifecycle.state

    @property
    def ids(self) -> dict[bytes, bytes]:
        """What stands for ids, and the ids: of the invocation that came last, the one before and the one after."""
        return {mark: id_of(self._number + step).encode() for mark, step in ((ID, 0), (OLD, -1), (NEW, 1))}

    def hear(self, step: Step, data: bytes) -> Said:
        """Return what is answered to a step."""
        if step.connection not in self._lines:
            self._lines[step.connection] = ServiceConnection(self._lifecycle, max_stream=limits.MAX_PAYLOAD), Line()
        connection, line = self._lines[step.connection]
        line.methods += step.methods
        for piece in (data, b"") if step.end else (data,):
            if not line.ended:
                connection.receive_data(piece)
                line.raw += self._pump(connection)
                line.ended = connection.must_close or not piece
        return line.news()

    def _pump(self, connection: ServiceConnection) -> bytes:
        """Answer all that can be answered."""
        out = b""
        while not connection.must_close:
            try:
                event = connection.next_event()
            except RemoteProtocolError as fault:
                return out + (connection.send(fault.reply) if fault.reply is not None else b"")
            match event:
                case Signal() | ConnectionClosed():
                    return out
                case NextAsked():
                    out += connection.send(self._invocation())
                case ContinueAsked():
                    out += connection.send(Continue())
                case PingAsked():
                    out += connection.send(Pong())
                case Violation():
                    out += connection.send(event.reply)
                case ResponseStarted() | ResponseChunk():
                    pass
                case _:
                    out += connection.send(Accepted())
        return out

    def _invocation(self) -> Invocation:
        if self.state is not State.RUNNING:
            self._number += 1
        return Invocation(
            request_id=id_of(self._number),
            payload=payload_of(self._number),
            deadline_ms=1,
            invoked_function_arn=ARN,
        )


def id_of(number: int) -> str:
    """Return the id of an invocation."""
    return f"id-{max(number, 0):09d}"


def payload_of(number: int) -> bytes:
    """Return its event."""
    return b'{"n": %d}' % number


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


class Environment:
    """One environment of an emulator: there is always an invocation, until it is over."""

    def __init__(self, theirs: Theirs) -> None:
        self._theirs = theirs
        self.first = theirs.number
        self.over = False
        self._fault: BaseException | None = None
        self._sockets: dict[int, tuple[socket.socket, Line]] = {}
        self._caller = threading.Thread(target=self._call)
        self._caller.start()

    def _call(self) -> None:
        try:
            while not self.over:
                self._theirs.invoke()
        except (OSError, http.client.HTTPException) as fault:
            self._fault = fault

    def hear(self, step: Step, data: bytes, ours: Said) -> Said:
        """Return what is answered to a step, once it is as much as we said, or the connection has ended."""
        if step.connection not in self._sockets:
            fresh = socket.create_connection(self._theirs.address, timeout=PATIENCE_S)
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[step.connection] = fresh, Line()
        wire, line = self._sockets[step.connection]
        line.methods += step.methods
        had = line.taken
        if line.ended:
            return line.news()
        enough = len(had.messages) + len(ours.messages), had.continues + ours.continues
        try:
            wire.sendall(data)
            if step.end:
                wire.shutdown(socket.SHUT_WR)
            elif self._read(wire, line, enough) and not ours.closed:
                return line.news()
            else:  # it must hear no more; else it answers this
                wire.sendall(PROBE)
                wire.shutdown(socket.SHUT_WR)
            self._read(wire, line, None)
        except TimeoutError:
            raise
        except OSError:  # it was reset
            line.ended = True
        return line.news()

    def _read(self, wire: socket.socket, line: Line, enough: tuple[int, int] | None) -> bool:
        """Read so many answers, or to the end; say whether they came without a long wait."""
        wire.settimeout(PATIENCE_S if enough is None else MOMENT_S)
        while not line.ended:
            said = line.read()
            if enough is not None and len(said.messages) >= enough[0] and said.continues >= enough[1]:
                return True
            try:
                piece = wire.recv(65_536)
            except TimeoutError:
                if enough is None:
                    raise
                return False
            line.raw += piece
            line.ended = not piece
        return True

    def close(self) -> None:
        """Wait until it is over."""
        for wire, _ in self._sockets.values():
            wire.close()
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

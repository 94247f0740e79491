"""What an invocation may cost, counted and never timed: system calls, waits, copies, and modules of a cold start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from lambda_wire import _line, _sockets, _transport
from lambda_wire._events import Accepted
from lambda_wire._facade import Runtime
from tests.driver_parts import Driver, LoopDriver, WatchedLoop, on_every_driver, wire_of
from tests.driver_services import Script, service
from tests.running_local import PATIENCE_S, ROOT

KIB: Final = 1024
MIB: Final = 1024 * KIB
#: More than any request of these tests.
ROOM: Final = 8 * MIB
HEAD_END: Final = b"\r\n\r\n"
ACCEPTED: Final = (
    b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
)


# -- a service that does the same each time


def event_of(size: int) -> bytes:
    """Return the answer to a poll: an event of so many bytes, counted."""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n"
        f"Lambda-Runtime-Deadline-Ms: 1542409706888\r\nContent-Length: {size}\r\n\r\n"
    )
    return head.encode() + b"x" * size


def read_whole(wire: socket.socket, room: memoryview) -> bytes:
    """Read a request to its end, with no memory of our own for its body; return its head."""
    filled = 0
    while True:
        count = wire.recv_into(room[filled:])
        assert count, "the runtime went away"
        filled += count
        head, found, _ = bytes(room[: min(filled, KIB)]).partition(HEAD_END)
        fields = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
        if not found:
            continue
        if b"transfer-encoding" in fields and bytes(room[filled - 5 : filled]) == b"0\r\n\r\n":
            return head
        if b"transfer-encoding" not in fields and filled == len(head) + 4 + int(fields.get(b"content-length", 0)):
            return head


def answers(*sent: bytes) -> Script:
    """Return what reads a request and sends an answer in one piece, for each of them on one connection."""
    room = memoryview(bytearray(ROOM))

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire:
            wire.settimeout(PATIENCE_S)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for answer in sent:
                read_whole(wire, room)
                wire.sendall(answer)
            assert wire.recv(1) == b""

    return script


# -- counting


class CountingSocket(socket.socket):
    """Notes each system call that a driver makes, on a kernel that has room for everything, and everything there.

    How much one call takes or gives depends on the kernel's buffers and on the other end's pace, and so would how many
    are needed. Here a write takes all, and a read into memory fills it. The first read gives what is there, as ever.
    """

    calls: list[str]

    @classmethod
    def in_place_of(cls, given: socket.socket, calls: list[str]) -> CountingSocket:
        """Take a socket over."""
        timeout = given.gettimeout()
        made = cls(fileno=given.detach())
        made.settimeout(timeout)
        made.calls = calls
        return made

    def _patiently(self, act: Callable[[], Any]) -> None:
        timeout = self.gettimeout()
        self.settimeout(PATIENCE_S)
        try:
            act()
        finally:
            self.settimeout(timeout)

    def sendmsg(self, buffers: Iterable[Any], *_: object) -> int:
        self.calls.append("sendmsg")
        data = b"".join(bytes(buffer) for buffer in buffers)
        self._patiently(lambda: super(CountingSocket, self).sendall(data))
        return len(data)

    def send(self, *_: object) -> int:
        raise AssertionError("a write without sendmsg")

    sendall = send  # type: ignore[assignment]  # neither is called

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.calls.append("recv")
        return super().recv(size, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.calls.append("recv_into")
        room = memoryview(buffer)
        if self.gettimeout() is None:  # this kernel does it when it is asked to
            return super().recv_into(room, nbytes, flags)

        def fill() -> None:
            filled = 0
            while filled < len(room):
                filled += super(CountingSocket, self).recv_into(room[filled:])

        self._patiently(fill)
        return len(room)


class StoppedClock:
    """A clock that tests set; both kinds of driver read it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (_line, _sockets, _transport):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


@asynccontextmanager
async def counted(driver: Driver, *sent: bytes) -> AsyncIterator[tuple[Runtime, list[str]]]:
    """A runtime after an invocation that warmed it up, and the system calls and waits that it makes from then on.

    Those of a loop are its waits: what they cost is its own.
    """
    calls: list[str] = []
    with service(answers(event_of(2), ACCEPTED, *sent)) as address:
        async with driver.connect(address) as runtime:
            await runtime.respond(await runtime.next_invocation(), b"{}")
            wire: Any = runtime._wire  # of either kind
            wire._socket = CountingSocket.in_place_of(wire_of(runtime), calls)
            if isinstance(driver, LoopDriver):
                WatchedLoop.of(runtime, calls.append)
            yield runtime, calls


# -- system calls


def exchange_of(driver: Driver, *reads: str) -> list[str]:
    """Return what one request and its answer cost: a loop waits once for the answer to begin."""
    return ["sendmsg", *(["readable"] if isinstance(driver, LoopDriver) else []), *reads]


@pytest.mark.parametrize(("size", "reads"), [(100, ["recv"]), (MIB, ["recv", "recv_into"])])
@on_every_driver
async def test_the_system_calls_of_an_invocation(
    driver: Driver, size: int, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ask, hear, answer, hear: four; a large event is one more, straight into its memory. A loop waits twice."""
    StoppedClock(monkeypatch)
    async with counted(driver, event_of(size), ACCEPTED) as (runtime, calls):
        invocation = await runtime.next_invocation()
        assert len(invocation.payload) == size
        assert await runtime.respond(invocation, invocation.payload) == Accepted()
        assert calls == exchange_of(driver, *reads) + exchange_of(driver, "recv")
        assert len(calls) == 3 + len(reads) + 2 * isinstance(driver, LoopDriver)


@on_every_driver
async def test_the_system_calls_of_a_stream(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for the head with its first chunks, one for each write however many chunks it has, one for the end."""
    StoppedClock(monkeypatch)
    async with counted(driver, event_of(100), ACCEPTED) as (runtime, calls):
        stream = await runtime.stream(await runtime.next_invocation(), b"1", b"2")
        await stream.write(b"3")
        await stream.write(*(b"%d" % number for number in range(300)))
        await stream.write(b"")
        assert await stream.finish() == Accepted()
        assert calls == [
            *exchange_of(driver, "recv"),
            *["sendmsg"] * 3,
            *exchange_of(driver, "recv"),
        ]


@on_every_driver
async def test_the_system_calls_of_an_error(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a response."""
    StoppedClock(monkeypatch)
    async with counted(driver, event_of(100), ACCEPTED) as (runtime, calls):
        invocation = await runtime.next_invocation()
        await runtime.report_error(invocation, error_type="Function.X", payload=b"{}")
        assert calls == exchange_of(driver, "recv") * 2


@on_every_driver
async def test_a_connection_that_proved_to_be_kept_costs_no_look(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One system call, once for each connection: before it is used again for the first time."""
    StoppedClock(monkeypatch)
    calls: list[str] = []
    with service(answers(*(event_of(2), ACCEPTED) * 3)) as address:
        async with driver.connect(address) as runtime:
            invocation = await runtime.next_invocation()
            wire: Any = runtime._wire  # of either kind
            wire._socket = CountingSocket.in_place_of(wire_of(runtime), calls)
            await runtime.respond(invocation, b"{}")
            for _ in range(2):
                await runtime.respond(await runtime.next_invocation(), b"{}")
    assert calls == ["recv"] + ["sendmsg", "recv"] * 5


@on_every_driver
async def test_a_look_is_one_system_call_and_lasts_ten_milliseconds(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a request and a stream's write, when nothing was read or looked at for that long; not before its end."""
    clock = StoppedClock(monkeypatch)
    async with counted(driver, event_of(100), ACCEPTED) as (runtime, calls):
        clock.now += 0.02
        invocation = await runtime.next_invocation()
        clock.now += 0.009
        stream = await runtime.stream(invocation, b"1")
        assert calls == ["recv", *exchange_of(driver, "recv"), "sendmsg"]
        calls.clear()
        for passed in (0.002, 0.005, 0.004, 0.002, 1.0, 0.0):
            clock.now += passed
            await stream.write(b"2")
        clock.now += 1.0
        await stream.finish()
        assert calls == [
            *["recv", "sendmsg"],
            *["sendmsg"] * 2,
            *["recv", "sendmsg"],
            *["recv", "sendmsg"],
            "sendmsg",
            *exchange_of(driver, "recv"),
        ]


# -- copies


@on_every_driver
async def test_the_memory_of_a_large_invocation(driver: Driver) -> None:
    """An event of 6 MiB is one copy, which goes back as it is."""
    size = 6 * MIB
    with service(answers(event_of(2), ACCEPTED, event_of(size), ACCEPTED)) as address:
        async with driver.connect(address) as runtime:
            await runtime.respond(await runtime.next_invocation(), b"{}")
            tracemalloc.start()
            try:
                invocation = await runtime.next_invocation()
                assert await runtime.respond(invocation, invocation.payload) == Accepted()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert type(invocation.payload) is bytes
    assert len(invocation.payload) == size
    assert peak <= 1.05 * size + 256 * KIB


# -- a cold start


#: What a cold start can do without; each costs more than all of ours, or is a second way of something.
DEAR: Final = """
    argparse ast asyncio base64 concurrent contextvars dataclasses email h11 hashlib http importlib.metadata inspect
    json logging multiprocessing pathlib queue random re shutil ssl subprocess tempfile tokenize traceback trio typing
    typing_extensions urllib uuid uvloop zipfile
"""
#: Runs ``lambda-wire run`` up to its first write, and prints what is loaded then. ``socket`` is loaded in any case.
COLD_START: Final = """
import os, socket, sys

def told(self, buffers, *_):
    heard = b"".join(buffers)
    print(heard.split(b" HTTP/1.1")[0].decode(), *sorted(sys.modules), sep="\\n", flush=True)
    os._exit(0)

socket.socket.send = socket.socket.sendall = socket.socket.sendmsg = told
sys.path[:0] = sys.argv.pop(1), sys.argv.pop(1)
from lambda_wire.cli import main
main()
"""


def loaded(*arguments: str, environment: dict[str, str] | None = None) -> list[str]:
    """Return what an interpreter without site-packages says."""
    command = [sys.executable, "-I", "-S", "-c", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture
def cold_start(tmp_path: Path) -> list[str]:
    """The modules that are loaded when a runtime with a trivial handler asks for its first invocation."""
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return event\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        said = loaded(
            COLD_START, str(ROOT), str(tmp_path), "run", "app.handler", environment={"AWS_LAMBDA_RUNTIME_API": address}
        )
    assert said.pop(0) == "GET /2018-06-01/runtime/invocation/next"
    assert "app" in said
    return said


def test_a_cold_start_loads_nothing_that_is_dear(cold_start: list[str]) -> None:
    """Before the first poll leaves: not one of the dear ones, nor any part of them."""
    assert {
        name for name in cold_start if any(name == dear or name.startswith(dear + ".") for dear in DEAR.split())
    } == set()


def test_a_cold_start_loads_the_standard_library_and_us_only(cold_start: list[str]) -> None:
    """h11 is for heads that are not plain."""
    strangers = {name.partition(".")[0] for name in cold_start} - set(sys.stdlib_module_names)
    assert strangers <= {"__main__", "__mp_main__", "app", "lambda_wire"}


def test_a_cold_start_loads_no_other_driver(cold_start: list[str]) -> None:
    """Nor what many invocations at once need, nor the programs beside it."""
    ours = {name for name in cold_start if name.startswith("lambda_wire")}
    assert {"lambda_wire.sync", "lambda_wire._sockets", "lambda_wire.bootstrap"} <= ours
    others = ("asyncio", "trio", "_facade", "_transport", "_h11", "invoke", "local", "testing")
    assert ours.isdisjoint(f"lambda_wire.{name}" for name in others)
    unneeded = ("alone", "event_loop", "slot_loop", "slots", "processes", "snapshots", "writer")
    assert ours.isdisjoint(f"lambda_wire.bootstrap.{name}" for name in unneeded)


def test_a_cold_start_loads_nothing_of_an_invocation(cold_start: list[str]) -> None:
    """Nor what a failure or a log needs: there is neither before the first poll."""
    unneeded = ("answering", "context", "failures", "invoking", "logs", "marshalling", "returning")
    assert set(cold_start).isdisjoint(f"lambda_wire.bootstrap.{name}" for name in unneeded)
    assert set(cold_start).isdisjoint(f"lambda_wire.{name}" for name in ("_prelude", "_responses", "_service"))


#: Runs ``lambda-wire run`` until it looks for the handler, and prints how often garbage was looked for since it began,
#: whether it is looked for now, and how many objects are young.
COLLECTED: Final = """
import gc, os, sys

class Module:
    @property
    def handler(self):
        young = len(gc.get_objects(0)) + len(gc.get_objects(1))
        print(len(looks), gc.isenabled(), young, flush=True)
        os._exit(0)

looks = []
gc.callbacks.append(lambda phase, _: looks.append(phase))
sys.path.insert(0, sys.argv.pop(1))
from lambda_wire.cli import main
sys.modules["app"] = Module()
gc.collect()
looks.clear()
main()
"""


def test_a_cold_start_looks_for_no_garbage() -> None:
    """What it loads is none: it is old when the handler's module is loaded, for which garbage is looked for as ever."""
    address = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"}
    (said,) = loaded(COLLECTED, str(ROOT), "run", "app.handler", environment=address)
    looks, collects, young = said.split()
    assert (looks, collects) == ("0", "True")
    assert int(young) < 1000

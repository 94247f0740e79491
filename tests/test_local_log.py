"""What runtimes write: on our terminal, as it comes, and in the log of the invocation that ran then."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire.bootstrap import serve_handler
from lambda_wire.local.call import Call
from lambda_wire.local.log import Log
from lambda_wire.local.output import Output
from lambda_wire.local.report import Report
from lambda_wire.local.server import EmbeddedLambda
from lambda_wire.local.terminal import Terminal
from lambda_wire.local.threads import ThreadWorker
from lambda_wire.local.worker import Worker, child_process
from lambda_wire.testing import deliveries
from tests.running_local import PATIENCE_S, ROOT, is_alive, running_local

TAIL = 4096
MIB = 1024 * 1024

APP = """
import os, subprocess, sys, threading, time

def say(event, context):
    for stream, text in event:
        print(text, end="", file=getattr(sys, stream), flush=True)

def stream(event, context):
    print("midway", end="")
    yield "begun"
    time.sleep(600)

def after(event, context):
    yield "1"
    print("after the last byte", end="")

def die(event, context):
    os.write(2, b"my last w")
    os._exit(7)

def flood(event, context):
    for _ in range(event):
        os.write(1, b"x" * 1048575 + b"\\n")
    os.write(1, b"the end")

def pour(event, context):
    if event:
        def forever():
            while True:
                os.write(1, b"x" * 65536)
        threading.Thread(target=forever, daemon=True).start()
    return event

def leave_one(event, context):
    code = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=1)
    with open("left", "wb") as left:
        left.write(child.stdout.readline())
    print("left one behind")
    os._exit(0)

def background(event, context):
    def speak():
        with open("gate") as gate:
            gate.read()
        os.write(1, b"in between")
        with open("gate", "w") as gate:
            gate.write("x")
    threading.Thread(target=speak, daemon=True).start()

def close(event, context):
    os.close(1)
    os.close(2)
    return event
"""

CHATTY = """
print("starting", end="")
def handler(event, context):
    print("running", end="")
"""

BROKEN = """
print("trying", end="")
raise RuntimeError("cannot start")
"""

SHELL = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
printf starting
while head=$(curl -sfD - -o event "$api/next"); do
    id=$(printf '%s' "$head" | tr -d '\\r' | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //p')
    printf 'out '
    printf 'err ' >&2
    cat event
    curl -s -d 1 "$api/$id/response" >answer
    printf ' after'
done
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in (("app.py", APP), ("chatty.py", CHATTY), ("broken.py", BROKEN), ("bootstrap", SHELL)):
        (tmp_path / name).write_text(source, encoding="ascii")
    (tmp_path / "bootstrap").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


# -- the log alone


def test_a_log_keeps_its_end() -> None:
    """Its last 4,096 bytes, however they are delivered, and bytes as they are."""
    data = bytes(range(256)) * 17
    for pieces in deliveries(data):
        log = Log()
        for piece in pieces:
            log.write(piece)
        assert log.tail() == data[-TAIL:]
    assert Log().tail() == b""


@given(st.lists(st.binary(max_size=9), max_size=20), st.integers(1, 8))
def test_a_log_is_the_end_of_what_was_written(pieces: list[bytes], limit: int) -> None:
    log = Log(limit)
    for piece in pieces:
        log.write(bytearray(piece))
        assert len(log.tail()) <= limit
    assert log.tail() == b"".join(pieces)[-limit:]


def test_a_line_of_a_log_begins_a_line() -> None:
    """What was not ended before is ended then, and nothing else is added; a limit cuts lines, too."""
    log = Log()
    for text in ("a", "b"):
        log.write_line(text)
    log.write(b"c")
    log.write_line("d\udc80")
    assert log.tail() == b"a\nb\nc\nd\\udc80\n"
    log = Log(3)
    log.write_line("12345")
    assert log.tail() == b"45\n"


# -- the terminal alone


class Pipe:
    """A terminal whose reader is the test."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._read_end, write_end = os.pipe()
        self._write_end = write_end
        self.terminal = Terminal(write_end, encoding="ascii", patience_s=patience_s)

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += os.read(self._read_end, size - len(found))
        return found

    def stop_reading(self) -> None:
        os.close(self._read_end)
        self._read_end = -1

    def unblock(self) -> None:
        os.set_blocking(self._write_end, False)

    def close(self) -> bytes:
        """Return what had not been read."""
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            rest = reader.submit(self._read_rest)
            self.terminal.close()
            os.close(self._write_end)
            return rest.result(PATIENCE_S)

    def _read_rest(self) -> bytes:
        if self._read_end < 0:
            return b""
        with open(self._read_end, "rb") as rest:
            return rest.read()


def test_bytes_go_to_the_terminal_as_they_are_and_lines_begin_a_line() -> None:
    """A part of a line is shown at once; what the terminal has no letter for, as an escape."""
    pipe = Pipe()
    pipe.terminal.write_line("one")
    pipe.terminal.write(b"\xff\0part")
    assert pipe.read(10) == b"one\n\xff\0part"
    pipe.terminal.write_line("é")
    pipe.terminal.write(b"")
    pipe.terminal.write_line("last")
    assert pipe.close() == b"\n\\xe9\nlast\n"


def test_a_terminal_that_nobody_reads_any_more_disturbs_nothing() -> None:
    """Nor one that was closed before we came."""

    async def check() -> None:
        pipe = Pipe()
        pipe.stop_reading()
        for terminal in (pipe.terminal, Terminal()):
            for _ in range(100):
                terminal.write(bytes(65_536))
                await terminal.room()
                terminal.write_line("line")
            terminal.close()
        pipe.close()

    asyncio.run(check())


def test_a_slow_reader_is_waited_for() -> None:
    """Nothing is lost; and neither is it where somebody else has made our output one that does not wait."""

    async def check(pipe: Pipe) -> None:
        pipe.terminal.write(b"x" * (MIB + 4 * 65_536))  # a pipe takes the first of it
        waiting = asyncio.create_task(pipe.terminal.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        read = await asyncio.to_thread(pipe.read, 8 * 65_536)
        await waiting
        assert set(read) == {ord("x")}

    for prepare in (lambda _: None, Pipe.unblock):
        pipe = Pipe()
        prepare(pipe)
        asyncio.run(check(pipe))
        pipe.terminal.write(b"end")
        assert pipe.close().lstrip(b"x") == b"end"


def test_a_reader_who_does_not_read_holds_nobody_up_for_long() -> None:
    """What does not fit is left out, which is said once he reads on; lines still begin a line."""

    async def check() -> None:
        for _ in range(100):
            pipe.terminal.write(b"x" * 65_536)
            await pipe.terminal.room()

    pipe = Pipe(patience_s=0.01)
    asyncio.run(check())
    read = pipe.read(MIB)
    pipe.terminal.write_line("line")
    rest = pipe.close()
    found = re.fullmatch(rb"(x+)\n\((\d+) bytes are not shown: [^\n]+\)\nline\n", rest)
    assert found is not None
    assert len(read) + len(found[1]) + int(found[2]) == 100 * 65_536


# -- the pipe alone


class Child:
    """The test writes, in place of a child."""

    def __init__(self, terminal: Terminal) -> None:
        self.output = Output(terminal, self._hear)
        self.heard = b""
        self._news = asyncio.Event()

    def write(self, data: bytes) -> None:
        os.write(self.output.write_end, data)

    async def wait_for(self, size: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < size:
                self._news.clear()
                await self._news.wait()

    def _hear(self, data: bytes) -> None:
        self.heard += data
        self._news.set()


def test_a_pipe_is_drained_at_once() -> None:
    """Before the loop has seen anything of it, and again at its end."""

    async def check() -> None:
        terminal = Terminal()
        child = Child(terminal)
        child.output.drain()
        child.write(b"a" * 65_536)
        child.output.drain()
        assert child.heard == b"a" * 65_536
        child.write(b"b")
        await child.wait_for(65_537)
        child.write(b"c")
        child.output.close()
        assert child.heard.endswith(b"bc")
        child.output.drain()
        child.output.close()
        child.output.release()
        terminal.close()

    asyncio.run(check())


def test_a_pipe_is_read_no_faster_than_the_terminal_is() -> None:
    """One piece, and then no other before there is room; but it can be drained, and closed."""

    async def check() -> None:
        pipe = Pipe()
        children = [Child(pipe.terminal) for _ in range(2)]
        pipe.terminal.write(b"x" * (MIB + 4 * 65_536))
        for child in children:
            child.write(b"1")
            await child.wait_for(1)
            child.write(b"2")
        for _ in range(10):
            await asyncio.sleep(0)
        assert [child.heard for child in children] == [b"1", b"1"]
        children[0].output.close()
        assert [child.heard for child in children] == [b"12", b"1"]
        assert await asyncio.to_thread(pipe.read, 8 * 65_536)
        await children[1].wait_for(2)
        children[1].output.close()
        for child in children:
            child.output.release()
        assert (await asyncio.to_thread(pipe.close)).lstrip(b"x") == b"1122"

    asyncio.run(check())


# -- the logs of invocations


class Serving:
    """An embedded Lambda around a command."""

    def __init__(self, embedded: EmbeddedLambda, shown: Path) -> None:
        self.embedded = embedded
        self._shown = shown

    def call(self, event: object = None) -> Call:
        call = Call(json.dumps(event).encode(), request_id="it")
        self.embedded.submit(call)
        return call

    async def log_of(self, event: object = None) -> bytes:
        call = self.call(event)
        call.discard()
        return await asyncio.wait_for(call.log_tail(), PATIENCE_S)

    def shown(self) -> bytes:
        """What was on the terminal, after the end."""
        return self._shown.read_bytes()


@asynccontextmanager
async def serving(*command: str, timeout_s: float = PATIENCE_S, quiet: bool = False) -> AsyncIterator[Serving]:
    shown = Path(os.devnull if quiet else "shown")
    with shown.open("ab") as file:
        terminal = Terminal(file.fileno())
        words = command if len(command) > 1 else (sys.executable, "-P", "-m", "lambda_wire", "run", *command)
        launch = child_process(words, handler=command[-1], terminal=terminal)
        embedded = EmbeddedLambda(launch, report=Report(terminal.write_line), timeout_s=timeout_s)
        try:
            yield Serving(embedded, shown)
        finally:
            await embedded.stop()
            terminal.close()


def run(check: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(check())


def log(middle: str, *, init: str = "", status: str = "") -> re.Pattern[bytes]:
    """Return what a whole log looks like."""
    lines = rf"START RequestId: it Version: \$LATEST\n{middle}END RequestId: it\nREPORT RequestId: it\t[^\n]+"
    return re.compile(f"{init}{lines}{status}\n".encode())


def test_a_log_holds_init_start_output_end_and_report() -> None:
    """In this order, each of our lines on a line of its own; the second has no init."""

    async def check() -> None:
        async with serving("chatty.handler") as function:
            first = await function.log_of()
            second = await function.log_of()
        assert log("running\n", init="starting\n").fullmatch(first)
        assert log("running\n").fullmatch(second)
        assert function.shown() == first + second
        assert b"Init Duration" in first

    run(check)


def test_standard_output_and_standard_error_are_one_log() -> None:
    """Their order is kept."""
    event = [["stdout", "1"], ["stderr", "2\n"], ["stdout", "3"], ["stderr", "\0é"], ["stdout", "5\n"]]

    async def check() -> None:
        async with serving("app.say") as function:
            found = await function.log_of(event)
        assert log("12\n3\0é5\n").fullmatch(found)
        assert function.shown() == found

    run(check)


def test_a_runtime_of_another_kind() -> None:
    """A shell script: neither stream ends its lines, and it goes on after its response."""

    async def check() -> None:
        async with serving("/bin/sh", "./bootstrap") as function:
            first = await function.log_of(1)
            others = [await function.log_of(number) for number in range(2, 6)]
        assert log("out err 1 after\n", init="starting\n").fullmatch(first)
        for number, found in enumerate(others, 2):
            assert log(f"out err {number} after\n").fullmatch(found)
        assert function.shown() == b"".join([first, *others])

    run(check)


def test_what_was_written_before_the_response_is_in_its_log() -> None:
    """Always, although the response comes on another way; and in no other log."""

    async def check() -> None:
        async with serving("app.say") as function:
            for number in range(100):
                text = f"{number}:" + "x" * (number * 31)
                assert log(f"{text}\n").fullmatch(await function.log_of([["stdout", text]]))

    run(check)


def test_what_is_written_after_the_last_byte_is_in_its_log() -> None:
    """An invocation lasts until the runtime asks for the next one (RT-NEXT-19)."""

    async def check() -> None:
        async with serving("app.after") as function:
            assert log("after the last byte\n").fullmatch(await function.log_of())

    run(check)


def test_what_is_written_between_two_invocations_is_in_no_log(app: Path) -> None:
    """On the terminal it is."""
    os.mkfifo(app / "gate")

    async def check() -> None:
        async with serving("app.background") as function:
            assert log("").fullmatch(await function.log_of())
            await asyncio.to_thread(_pass, app / "gate")
            assert log("").fullmatch(await function.log_of())
        assert function.shown().count(b"\nin between\nSTART") == 1

    def _pass(gate: Path) -> None:
        gate.write_text("go", encoding="ascii")
        assert gate.read_text(encoding="ascii") == "x"

    run(check)


@pytest.mark.parametrize("size", [TAIL - 1, TAIL, TAIL + 1, 60_000, 200_000])
def test_a_tail_is_4096_bytes(size: int) -> None:
    """At most, and the last ones: it ends with the REPORT line."""

    async def check() -> None:
        async with serving("app.say") as function:
            found = await function.log_of([["stderr", "<" + "x" * size]])
        shown = function.shown()
        assert len(found) == TAIL
        assert shown.endswith(found)
        assert shown.count(b"x") >= size
        assert re.search(rb"x\nEND RequestId: it\nREPORT [^\n]+\n$", found)

    run(check)


# -- however it ends


def test_the_log_of_a_child_that_dies() -> None:
    """Its last words are heard, in the middle of a line."""

    async def check() -> None:
        async with serving("app.die") as function:
            found = [await function.log_of() for _ in range(2)]
        assert all(log("my last w\n", status="\tStatus: error").fullmatch(one) for one in found)
        assert function.shown().count(b"\nmy last w\nERROR RequestId: it") == 2

    run(check)


def test_the_log_of_a_timeout() -> None:
    """AWS's shows the same status."""

    async def check() -> None:
        async with serving("app.stream", timeout_s=0.5) as function:
            assert log("midway\n", status="\tStatus: timeout").fullmatch(await function.log_of())

    run(check)


def test_the_log_of_a_runtime_that_cannot_start() -> None:
    """Why it cannot is in its log."""

    async def check() -> None:
        async with serving("broken.handler") as function:
            found = await function.log_of()
        assert log("", init="trying(?s:.*)", status="\tStatus: error").fullmatch(found)

    run(check)


def test_the_log_of_a_command_that_cannot_be_started(app: Path) -> None:
    """Nothing is left open."""
    (app / "bad").write_bytes(b"\x7fELF nonsense")
    (app / "bad").chmod(0o755)

    async def check() -> None:
        async with serving("./bad", "handler") as function:
            assert log("", status="\tStatus: error").fullmatch(await function.log_of())

    run(check)


def test_the_log_of_an_invocation_that_is_stopped() -> None:
    """And of one that waits for it, and of one that comes too late."""

    async def check() -> None:
        async with serving("app.stream") as function:
            call = function.call()
            assert await call.next_piece() == b"begun"
            waiting = function.call()
            await function.embedded.stop()
            late = function.call()
            for one in (call, waiting, late):
                assert one.ended
            found, *others = [await asyncio.wait_for(one.log_tail(), PATIENCE_S) for one in (call, waiting, late)]
        assert found.partition(b"midway")[0] == b"START RequestId: it Version: $LATEST\n"
        assert others == [b"", b""]

    run(check)


def test_the_log_of_a_thread_holds_our_lines_only(capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints is the process's own output. The lines are those that are said."""

    def handler(event: object, context: object) -> object:
        print("printed")
        return event

    async def launch(address: str, hear: Callable[[bytes], None]) -> Worker:
        return ThreadWorker(lambda runtime: serve_handler(handler, runtime), address)

    lines: list[str] = []

    async def check() -> None:
        embedded = EmbeddedLambda(launch, report=Report(lines.append))
        call = Call(b"1")
        embedded.submit(call)
        assert (await call.log_tail()).decode().splitlines() == lines
        await embedded.stop()

    run(check)
    assert [line.partition(" ")[0] for line in lines] == ["START", "END", "REPORT"]
    assert capsys.readouterr().out == "printed\n"


# -- much, and for ever


def test_a_flood_needs_no_memory(app: Path) -> None:
    """100 MB of log through the command: all of it is shown, and little of it is ever held."""
    with running_local("app.flood", cwd=app) as local:
        local.invoke(b"1")
        before = _peak_kb(local.process.pid)
        local.invoke(b"100")
        local.invoke(b"0", {"X-Amzn-RequestId": "last"})
        local.wait_for("REPORT RequestId: last")
        assert _peak_kb(local.process.pid) - before < 12 * 1024
        local.stop()
        assert local.output.count("x" * 1_048_575 + "\n") == 101
        assert local.output.count("\nthe end\nEND") == 3


def _peak_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def test_a_flood_without_an_end_starves_nobody() -> None:
    """A thread of the runtime never stops writing; invocations go on."""

    async def check() -> None:
        async with serving("app.pour", quiet=True) as function:
            for event in (True, False, False):
                found = await function.log_of(event)
                assert found.endswith(b"\n")
                assert b"\nREPORT RequestId: it" in found

    run(check)


def test_a_grandchild_that_holds_the_pipe_is_not_waited_for(app: Path) -> None:
    """It has left the group and lives on; what its parent wrote is heard."""

    async def check() -> None:
        async with serving("app.leave_one") as function:
            assert log("left one behind\n", status="\tStatus: error").fullmatch(await function.log_of())

    run(check)
    left = int((app / "left").read_text(encoding="ascii"))
    assert is_alive(left)
    os.kill(left, signal.SIGKILL)


def test_a_runtime_may_close_its_output() -> None:
    """It is served on."""

    async def check() -> None:
        async with serving("app.close") as function:
            for _ in range(2):
                assert log("").fullmatch(await function.log_of())

    run(check)


def test_no_descriptor_is_left_open(app: Path) -> None:
    """Whatever became of the children: one dies with each invocation."""
    descriptors = Path("/proc/self/fd")
    (app / "bad").write_bytes(b"\x7fELF nonsense")
    (app / "bad").chmod(0o755)

    async def check() -> None:
        for command in (("app.die",), ("chatty.handler",), ("./bad", "handler")):
            async with serving(*command) as function:
                for _ in range(3):
                    await function.log_of()

    run(check)
    before = len(list(descriptors.iterdir()))
    run(check)
    assert len(list(descriptors.iterdir())) == before


# -- the command's own output


@pytest.mark.parametrize("stdout", ["gone", "closed", "blocked"])
def test_an_output_that_nobody_reads_disturbs_nothing(app: Path, stdout: str) -> None:
    """Functions log 3 MiB each, are served, and the command ends when it is told to."""
    port = _free_port()
    command = [sys.executable, "-P", "-m", "lambda_wire", "local", "--port", str(port), "app.flood"]
    if stdout == "closed":
        command = ["/bin/sh", "-c", 'exec "$0" "$@" >&-', *command]
    read_end, write_end = os.pipe()
    with subprocess.Popen(command, stdout=write_end, stdin=subprocess.DEVNULL, cwd=app) as process:
        os.close(write_end)
        if stdout == "gone":
            os.close(read_end)
        address = f"http://127.0.0.1:{port}/2015-03-31/functions/f/invocations"
        curl = ["curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-d", "3", address]
        for _ in range(3):
            done = subprocess.run(curl, capture_output=True, timeout=2 * PATIENCE_S, check=True)
            assert done.stdout == b"null"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    with contextlib.suppress(OSError):
        os.close(read_end)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

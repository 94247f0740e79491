"""``lambda-wire run --processes``: each invocation in a process of its own, and no process is left behind."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lambda_wire import ConnectionClosed, NextAsked
from lambda_wire.bootstrap import processes
from lambda_wire.bootstrap.processes import serve_in_processes
from lambda_wire.bootstrap.stopping import Stopped, stopped_by_signals
from tests.bootstrap_parts import environment
from tests.driver_services import Service, service
from tests.running_local import PATIENCE_S, is_alive, running_local
from tests.slot_parts import Child, answer_of, our_threads, polls_of, running_child, service_of, told
from tests.test_local_concurrency import meeting_of

APP = """
import os, socket, sys
def handler(event, context):
    if event == "die":
        os._exit(7)
    if event == "exit":
        sys.exit(5)
    if event == "fail":
        raise ValueError("no")
    if isinstance(event, int):
        with socket.create_connection(("127.0.0.1", event)) as meeting:
            meeting.recv(1)
    return [os.getpid(), os.environ.get("_X_AMZN_TRACE_ID")]
"""
STOPS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What was asked to end ignores signals for good: not so the tests. No thread is left."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, taken in before.items():
        signal.signal(number, taken)
    for thread in threading.enumerate():
        if thread.name.startswith("lambda-wire"):
            thread.join(PATIENCE_S)
    assert our_threads() == []


def pid_of(held: Service, event: object = None) -> int:
    """Invoke there, and return in which process it ran."""
    told(held, event, trace_id="Root=1")
    pid, trace_id = json.loads(answer_of(held))
    assert trace_id == "Root=1"
    assert held.hear() == NextAsked()
    return int(pid)


def assert_gone(pids: list[int], child: Child) -> None:
    """Whoever was started has been waited for."""
    assert child.process.returncode is not None
    assert [pid for pid in pids if is_alive(pid)] == []


@STOPS
@pytest.mark.parametrize("group", [True, False])
def test_each_slot_is_a_process_and_a_signal_ends_them_all(number: signal.Signals, group: bool, tmp_path: Path) -> None:
    """With 0 and no orphan, whether the group is told, as by Ctrl-C, or the parent. Each knows its trace id."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, APP, tmp_path, "--processes", "--concurrency", "3"))
        held = polls_of(listener, 3, stack)
        pids = [pid_of(one) for one in held]
        assert len({*pids, child.process.pid}) == 4
        assert [pid_of(one) for one in held] == pids
        os.killpg(child.process.pid, number) if group else child.send(number)
        assert child.end() == (0, "", "")
        assert_gone(pids, child)
        assert all(isinstance(one.hear(), ConnectionClosed) for one in held)


def test_they_run_at_once_under_the_embedded_lambda(tmp_path: Path) -> None:
    """Three invocations meet; each in a process of its own."""
    (tmp_path / "app.py").write_text(APP, encoding="ascii")
    command = ("--", sys.executable, "-P", "-m", "lambda_wire", "run", "--processes", "app.handler")
    env = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
    with (
        running_local(*command, cwd=tmp_path, options=["--concurrency", "3"], env=env) as local,
        concurrent.futures.ThreadPoolExecutor() as callers,
        meeting_of(3) as (port, gather, part),
    ):
        meeting = [callers.submit(local.invoke, str(port).encode()) for _ in range(3)]
        gather()
        part()
        pids = {json.loads(called.result(PATIENCE_S)[2])[0] for called in meeting}
        assert len(pids) == 3
        assert local.stop() == 0
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize(("how", "code"), [("die", 7), ("exit", 5)])
def test_a_process_that_ends_is_replaced_and_the_others_are_unharmed(how: str, code: int, tmp_path: Path) -> None:
    """Its invocation is lost or reported; those of the others are answered."""
    with service_of() as (address, listener), ExitStack() as stack, meeting_of(1) as (port, gather, part):
        child = stack.enter_context(running_child(address, APP, tmp_path, "--processes", "--concurrency", "2"))
        dies, lives = polls_of(listener, 2, stack)
        dead, alive = pid_of(dies), pid_of(lives)
        told(lives, port)
        gather()
        told(dies, how)
        if how == "exit":
            assert json.loads(answer_of(dies))["errorType"] == "Runtime.ExitError"
        (fresh,) = polls_of(listener, 1, stack)
        assert pid_of(fresh) not in (dead, alive)
        part()
        assert json.loads(answer_of(lives))[0] == alive
        child.send()
        found, out, err = child.end()
    assert (found, out) == (0, "")
    assert [line for line in err.splitlines() if line.startswith("lambda-wire")] == [
        f"lambda-wire: a process ended with exit code {code}"
    ]


def test_a_failure_of_the_handler_ends_no_process(tmp_path: Path) -> None:
    """It is reported and logged, once."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, APP, tmp_path, "--processes", "--concurrency", "2"))
        held, _ = polls_of(listener, 2, stack)
        pid = pid_of(held)
        told(held, "fail")
        assert json.loads(answer_of(held))["errorType"] == "ValueError"
        assert held.hear() == NextAsked()
        assert pid_of(held) == pid
        child.send()
        code, _, err = child.end()
    assert (code, err.count("[ERROR]")) == (0, 1)


# -- in this process, where it is quicker to look at


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin anew at once."""
    monkeypatch.setattr(processes, "_BACKOFF_S", (0.0, 0.0))


@pytest.mark.usefixtures("waits")
def test_processes_that_always_end_are_given_up_with_1(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some tries of each, counted in a row."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    assert serve_in_processes(["--version"], 2) == 1
    out, err = capfd.readouterr()
    assert out.count("\n") == 2 * 3
    lines = err.splitlines()
    assert lines.count("lambda-wire: a process ended with exit code 0") == 2 * 3
    assert lines.count("lambda-wire: processes end as soon as they begin: no more are started in this slot") == 2
    assert len(lines) == 8


@pytest.mark.usefixtures("waits")
def test_a_process_that_cannot_be_started_has_ended_early(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried as often as one that dies, and said each time."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert serve_in_processes(["--version"], 1) == 1
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(": [")[0] for line in lines[:3]] == ["lambda-wire: a process cannot be started"] * 3
    assert lines[3:] == ["lambda-wire: processes end as soon as they begin: no more are started in this slot"]


def test_the_tries_are_later_and_later() -> None:
    """And few: an error of the handler's module must not start processes for ever."""
    assert list(processes._BACKOFF_S) == sorted(set(processes._BACKOFF_S))
    assert 0 < sum(processes._BACKOFF_S) < 2


@pytest.mark.parametrize("to_its_thread", [False, True])
@pytest.mark.usefixtures("waits")
def test_those_that_have_lived_are_replaced_for_ever(to_its_thread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what ends early, and in a row, is given up. A signal ends it, whichever thread the system gives it to."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setattr(processes, "_INIT_S", 0.0)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 6 and to_its_thread:
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        elif len(said) in (6, 60):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(processes, "log_line", say)
    assert serve_in_processes(["nothing"], 1) == 0
    assert said[:6] == ["a process ended with exit code 2"] * 6
    assert len(said) < 60, "the signal was not felt"


@STOPS
def test_a_signal_in_this_process(number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All polls end, all processes have been waited for."""
    (tmp_path / "app.py").write_text(APP, encoding="ascii")
    monkeypatch.chdir(tmp_path)

    def script(listener: socket.socket) -> None:
        with ExitStack() as stack:
            held = polls_of(listener, 2, stack)
            os.kill(os.getpid(), number)
            assert all(isinstance(one.hear(), ConnectionClosed) for one in held)

    with service(script) as address:
        for name, value in environment(AWS_LAMBDA_RUNTIME_API=address).items():
            monkeypatch.setenv(name, value)
        assert serve_in_processes(["run", "--concurrency", "1", "--", "app.handler"], 2) == 0


DEAF = """
import signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as test:
    test.recv(1)
"""


def test_who_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over."""
    monkeypatch.setattr(processes, "_END_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        command = [sys.executable, "-c", DEAF, str(listener.getsockname()[1])]
        running = processes._Processes(command, 1)
        running._threads[0].start()
        with listener.accept()[0] as held:
            (process,) = running._running
            running.stop()
            assert process.returncode == -signal.SIGKILL
            assert held.recv(1) == b""
        running._threads[0].join(PATIENCE_S)
        running.stop()


def test_none_is_started_when_they_are_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal while they begin leaves none behind."""

    class Interrupted(processes._Processes):
        def serve(self) -> None:
            self.stop()
            super().serve()
            with stopped_by_signals():
                raise Stopped

    monkeypatch.setattr(processes, "_Processes", Interrupted)
    assert serve_in_processes(["nothing"], 2) == 0


@pytest.mark.parametrize("safe", [True, False])
def test_each_finds_its_modules_where_its_parent_does(safe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the working directory, if that was told not to look there."""
    commands: list[list[str]] = []

    class Recorded(processes._Processes):
        def __init__(self, command: list[str], count: int) -> None:
            commands.append(command)
            super().__init__(command, 0)

        def serve(self) -> None:
            """There is none to wait for."""

    class Flags:
        safe_path = safe

    monkeypatch.setattr(processes, "_Processes", Recorded)
    monkeypatch.setattr(sys, "flags", Flags)
    assert serve_in_processes(["run", "a.b"], 2) == 1
    assert commands == [[sys.executable, *["-P"] * safe, "-m", "lambda_wire", "run", "a.b"]]

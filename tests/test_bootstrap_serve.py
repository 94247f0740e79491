"""The process: how it loads, polls, logs and ends."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lambda_wire import (
    BufferedResponse,
    ConnectionLost,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    Refused,
    RequestRefused,
    bootstrap,
)
from lambda_wire.bootstrap import serve, serve_handler
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.failures import Unanswerable
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.slots import Slots
from lambda_wire.bootstrap.stopping import Stopped, stopped_by_signals
from lambda_wire.sync import connect
from tests.bootstrap_parts import RecordingRuntime, ScriptedService, environment, invocation, running, served
from tests.slot_parts import answer_of, polls_of, running_child, service_of, told

ECHO = "def handler(event, context): return event\n"
WAITS = """
import sys, threading
def handler(event, context):
    try:
        print("running")
        threading.Event().wait()
    finally:
        print("finally")
"""
WAITS_ASYNC = """
import asyncio
async def handler(event, context):
    try:
        print("running")
        await asyncio.Event().wait()
    finally:
        print("finally")
"""
STREAMS = """
import threading
def handler(event, context):
    try:
        yield "first"
        print("running")
        threading.Event().wait()
    finally:
        print("finally")
"""


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What was asked to end ignores signals for good: not so the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, taken in before.items():
        signal.signal(number, taken)


STOPS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@STOPS
def test_a_signal_ends_a_poll_at_once_and_with_0(number: signal.Signals, tmp_path: Path) -> None:
    """Until then it serves, and needs no variable of Lambda's beyond the address of the service (RT-ENV-3).

    It shows ER-EXIT-10.
    """
    with ScriptedService(invocation(1)) as service, running(service, ECHO, tmp_path) as process:
        assert service.idle.wait(20)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert [type(it) for it in service.asked] == [NextAsked, BufferedResponse, NextAsked]


@STOPS
@pytest.mark.parametrize(
    ("source", "said"),
    [(WAITS, "ErrorReported"), (WAITS_ASYNC, "ErrorReported"), (STREAMS, "ResponseFailed")],
)
def test_a_signal_interrupts_an_invocation_that_is_reported(
    number: signal.Signals, source: str, said: str, tmp_path: Path
) -> None:
    """The handler's ``finally`` runs, its caller is told, and the process ends with 0, as it was asked to."""
    with ScriptedService(invocation()) as service, running(service, source, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "finally\n")
    assert type(service.asked[-1]).__name__ == said
    assert f"Runtime.ExitError: the runtime process ends: Stopped: {number.name} was received" in err


def test_an_async_handler_cleans_up_before_its_failure_is_reported(tmp_path: Path) -> None:
    """Its ``finally`` may still use what the report ends, such as the trace id."""
    source = WAITS_ASYNC.replace('print("finally")', 'print("finally", file=__import__("sys").stderr)')
    with ScriptedService(invocation()) as service, running(service, source, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert 0 <= err.index("finally") < err.index("[ERROR]")


def test_an_invocation_that_cannot_be_answered_is_not_run_again_and_again(tmp_path: Path) -> None:
    """The service does not know the id of its own event and gives it again: the handler runs once.

    (RT-NEXT-28, RT-RESP-16)
    """
    refused = Refused(status=400, error_type="InvalidRequestID", error_message="Invalid request ID")
    said = invocation(1)
    service = ScriptedService(said, said, said, answer=refused)
    with service, running(service, "def handler(event, context): print('ran')\n", tmp_path) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "ran\n")
    assert err.splitlines()[-1].endswith("invocation id-1, which it gave: it cannot be answered")


def test_a_refused_answer_is_not_the_end(tmp_path: Path) -> None:
    """Other refusals are news: the service takes the next poll, and may give the same id for another attempt."""
    refused = Refused(status=413, error_type="RequestEntityTooLarge", error_message="too large")
    said = invocation(1)
    service = ScriptedService(said, said, answer=refused)
    with service, running(service, "def handler(event, context): print('ran')\n", tmp_path) as process:
        assert service.idle.wait(20)
        process.terminate()
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ran\nran\n")


def test_a_handler_that_swallows_the_signal_is_the_last(tmp_path: Path) -> None:
    """Its answer is sent, and then the process ends."""
    source = WAITS.replace("finally:", "except BaseException:") + "    return 'done'\n"
    with ScriptedService(invocation(), invocation()) as service, running(service, source, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert service.asked[-1] == BufferedResponse(request_id="id-1", payload=b'"done"')


@pytest.mark.parametrize(
    ("raised", "code"),
    [("SystemExit(3)", 3), ("SystemExit()", 0), ("SystemExit('text')", 1), ("KeyboardInterrupt()", 1)],
)
def test_sys_exit_is_reported_and_then_ends_the_process(raised: str, code: int, tmp_path: Path) -> None:
    source = f"def handler(event, context): raise {raised}\n"
    with ScriptedService(invocation(), invocation()) as service, running(service, source, tmp_path) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert [type(it) for it in service.asked] == [NextAsked, ErrorReported]
    assert service.error()["errorType"] == "Runtime.ExitError"
    assert "(most recent call last)" not in err.partition("[ERROR]")[0]
    assert err.count("Traceback") == 1


@pytest.mark.parametrize(
    ("source", "handler", "error_type"),
    [
        ("", "nowhere.handler", "Runtime.ImportModuleError"),
        (ECHO, "app.nobody", "Runtime.HandlerNotFound"),
        (ECHO, "app", "Runtime.MalformedHandlerName"),
        ("def handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError"),
        ("raise LookupError('Größe 書 \\U0001f600')\n", "app.handler", "LookupError"),
        ("raise SystemExit(0)\n", "app.handler", "Runtime.ExitError"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_an_init_error(
    source: str, handler: str, error_type: str, tmp_path: Path
) -> None:
    """Reported whole, logged, and the process ends with 1 (RT-INIT-1, ER-TYPE-1, ER-TYPE-7, ER-EXIT-8)."""
    with ScriptedService() as service, running(service, source, tmp_path, handler=handler) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert [type(it) for it in service.asked] == [InitErrorReported]
    told = service.error()
    assert (told["errorType"], told["header"]) == (error_type, error_type)
    assert f"[ERROR] {error_type}: {told['errorMessage']}" in err
    if error_type == "LookupError":
        assert told["errorMessage"] == "Größe 書 \U0001f600"


def test_lines_leave_when_they_are_complete(tmp_path: Path) -> None:
    """Both streams, although neither is a terminal; the rest of a line leaves with the end of the invocation."""
    source = """
import os, sys
def handler(event, context):
    print("out")
    print("err", file=sys.stderr)
    sys.stdout.write("rest")
    if event == "die":
        os._exit(7)
"""
    with ScriptedService(invocation(), invocation("die")) as service, running(service, source, tmp_path) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (7, "err\nerr\n")
    assert out.startswith("out\nrestout\n")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lw_echo.py").write_text(ECHO, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("app")
class TestServe:
    """The same in this process, where it is quicker to look at."""

    def test_without_a_runtime_api_it_ends_with_1_and_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        port = free_port()
        assert serve("lw_echo.handler", f"127.0.0.1:{port}") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"lambda-wire: cannot poll the Runtime API at 127.0.0.1:{port}: nothing was sent")

    @pytest.mark.parametrize("status", [403, 404, 500, 503])
    def test_a_refused_poll_ends_it_with_1_and_one_line(self, status: int, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing leads out of the state that the environment is in (RT-NEXT-23, RT-NEXT-24).

        Nor is anything known of other statuses (RT-NEXT-26).
        """
        refusal = Refused(status=status, error_type="InvalidStateTransition", error_message="Not now.")
        with ScriptedService(verdict=refusal) as service:
            assert serve("lw_echo.handler", service.address) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"lambda-wire: the Runtime API at {service.address} refused the poll with {status} ")
        assert line.endswith(" InvalidStateTransition: Not now.")

    def test_an_init_error_that_was_taken_is_only_logged(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever the log goes: what is no text file is left as it is."""
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        with ScriptedService() as service:
            assert serve("lw_echo.nobody", service.address) == 1
        assert service.error()["errorType"] == "Runtime.HandlerNotFound"
        assert "lambda-wire: " not in capsys.readouterr().err

    def test_an_init_error_that_nobody_takes_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert serve("lw_echo.nobody", f"127.0.0.1:{free_port()}") == 1
        assert "lambda-wire: the init error could not be reported: nothing was sent" in capsys.readouterr().err

    def test_an_init_error_that_was_refused_is_said(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the second worker of an environment finds."""
        refusal = Refused(status=403, error_type="InvalidStateTransition", error_message="Not now.")
        monkeypatch.setattr("lambda_wire.bootstrap.Runtime.report_init_error", lambda self, **_: refusal)
        assert serve("lw_echo.nobody", f"127.0.0.1:{free_port()}") == 1
        assert "lambda-wire: the init error was refused with 403 InvalidStateTransition: Not now." in (
            capsys.readouterr().err
        )

    @STOPS
    def test_a_signal_while_it_loads_ends_it_with_0(self, app: Path, number: signal.Signals) -> None:
        (app / "lw_slow.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n", encoding="utf-8")
        assert serve("lw_slow.handler", f"127.0.0.1:{free_port()}") == 0

    def test_a_signal_that_is_swallowed_ends_it_before_the_next_poll(self, app: Path) -> None:
        source = "import os, signal\ndef handler(event, context):\n    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        (app / "lw_deaf.py").write_text(source + "    except BaseException: return 'deaf'\n", encoding="utf-8")
        with ScriptedService(invocation(), invocation()) as service:
            assert serve("lw_deaf.handler", service.address) == 0
        assert [type(it) for it in service.asked] == [NextAsked, BufferedResponse]

    @pytest.mark.parametrize(("raised", "code"), [("KeyboardInterrupt()", 1), ("GeneratorExit()", 1)])
    def test_other_exceptions_that_end_the_process_end_it_with_1(self, app: Path, raised: str, code: int) -> None:
        (app / "lw_end.py").write_text(f"def handler(event, context): raise {raised}\n", encoding="utf-8")
        sys.modules.pop("lw_end", None)
        with ScriptedService(invocation()) as service:
            assert serve("lw_end.handler", service.address) == code
        assert service.error()["errorType"] == "Runtime.ExitError"

    def test_sys_exit_is_let_through(self, app: Path) -> None:
        (app / "lw_exit.py").write_text("def handler(event, context): raise SystemExit(5)\n", encoding="utf-8")
        with ScriptedService(invocation()) as service, pytest.raises(SystemExit) as caught:
            serve("lw_exit.handler", service.address)
        assert caught.value.code == 5

    def test_it_gives_the_signals_back(self) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        serve("lw_echo.handler", f"127.0.0.1:{free_port()}")
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_one_connection_serves_many_invocations() -> None:
    """It polls after each answer, also after one that failed (ER-EXIT-3)."""

    def handler(event: int, context: object) -> object:
        if event == 50:
            raise SystemExit
        return (str(event) for _ in range(3)) if event % 2 else event

    with ScriptedService(*(invocation(number) for number in range(51))) as service:
        runtime = connect(service.address)
        with runtime, pytest.raises(SystemExit):
            serve_handler(handler, runtime)
    assert len([it for it in service.asked if isinstance(it, NextAsked)]) == 51
    assert service.connections == 1


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_plain_handlers_pay_for_no_event_loop(concurrency: str, tmp_path: Path) -> None:
    """Nothing of it is loaded, and no thread made. Alone, they run in the main thread, where signals are felt."""
    source = """
import sys, threading
def handler(event, context):
    alone = threading.current_thread() is threading.main_thread()
    return [alone, "asyncio" in sys.modules, "lambda-wire-loop" in [thread.name for thread in threading.enumerate()]]
"""
    with service_of() as (address, listener), ExitStack() as stack:
        stack.enter_context(running_child(address, source, tmp_path, "--concurrency", concurrency))
        held, *_ = polls_of(listener, int(concurrency), stack)
        told(held, None)
        assert json.loads(answer_of(held)) == [concurrency == "1", False, False]


class Watching(RecordingRuntime):
    """Looks before each poll at what is left of the invocations before, and gives others while there are any."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.answers: list[weakref.ref[object]] = []
        self.left: list[tuple[int, list[object]]] = []

    def stop_polling(self) -> None:
        """It never waits."""

    def close(self) -> None:
        """There is nothing to close."""

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        self.left.append((tracemalloc.get_traced_memory()[0], [it() for it in self.answers]))
        if not self.count:
            raise ConnectionLost("gone")
        self.count -= 1
        return invocation(payload=b"x" * LARGE, content_type="a/b")

    def serve(self, how: str) -> None:
        """Serve all, alone or in a slot."""

        def handler(event: bytes, context: LambdaContext) -> int:
            assert len(event) == LARGE
            self.answers.append(weakref.ref(context._answer))
            return 1

        if how == "alone":
            serve_handler(handler, self)
        else:
            with pytest.raises(ConnectionLost):
                Slots(Invoker(handler, alone=False), [self]).serve()


LARGE = 6_000_000


@pytest.mark.parametrize("how", ["alone", "in a slot"])
def test_nothing_of_an_invocation_is_held_while_the_next_is_polled_for(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the event nor its answer, not even of the first, which comes with the first poll; no collector runs."""
    monkeypatch.setattr("lambda_wire.bootstrap.slots._BACKOFF_S", (0.0,) * 5)
    Watching(1).serve(how)  # what is kept for ever is loaded
    runtime = Watching(3)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        runtime.serve(how)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    for held, alive in runtime.left:
        assert held < LARGE / 10
        assert set(alive) <= {None}
    assert peak < 1.1 * LARGE


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_the_memory_of_a_large_event_is_one_copy(concurrency: str, tmp_path: Path) -> None:
    """Through the whole runtime, and over a real connection: nothing of the one before is left when the next comes."""
    source = """
import tracemalloc
tracemalloc.start()
def handler(event, context):
    print(tracemalloc.get_traced_memory()[1], flush=True)
    tracemalloc.reset_peak()
"""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, source, tmp_path, "--concurrency", concurrency))
        held, *_ = polls_of(listener, int(concurrency), stack)
        peaks = []
        for _ in range(3):
            told(held, None, payload=b"x" * LARGE, content_type="a/b")
            peaks.append(int(child.line()))
            assert answer_of(held) == b"null"
            assert held.hear() == NextAsked()
        child.send()
        assert child.end()[:2] == (0, "")
    assert max(peaks[1:]) < 1.5 * LARGE


def test_an_invocation_that_is_there_at_once_is_served() -> None:
    """The first poll does not wait, but takes what there is."""

    class Prompt(RecordingRuntime):
        def next_invocation(self, *, timeout: float | None = None) -> object:  # type: ignore[override]  # a double
            return super().next_invocation()

    runtime = Prompt(invocation(1), invocation(2))
    serve_handler(lambda event, context: event, runtime)
    assert [it.payload for it in runtime.said if isinstance(it, BufferedResponse)] == [b"1", b"2"]


def test_serve_handler_returns_when_the_runtime_api_goes_away_and_tells_when_it_refuses() -> None:
    serve_handler(lambda event, context: event, RecordingRuntime())
    with ScriptedService(verdict=Refused(status=500)) as service:
        runtime = connect(service.address)
        with runtime, pytest.raises(RequestRefused):
            serve_handler(lambda event, context: event, runtime)


def test_a_name_that_only_failures_need_is_there_when_it_is_asked_for() -> None:
    """Its room is loaded then; other names are none."""
    assert bootstrap.Unanswerable is Unanswerable
    with pytest.raises(AttributeError, match=r"'lambda_wire\.bootstrap' has no attribute 'Answerable'"):
        getattr(bootstrap, "Answerable")  # noqa: B009  # a checker knows that it is not there


def test_what_the_first_poll_does_not_need_is_loaded_after_it() -> None:
    """Cold starts: neither the command line's nor the invocation's rooms, nor an event loop."""
    code = """
import sys
from lambda_wire.sync import Runtime
def poll(self, *, timeout=None):
    print(sorted(sys.modules))
    raise SystemExit
Runtime.next_invocation = poll
sys.modules["app"] = type(sys)("app")
sys.modules["app"].handler = print
from lambda_wire.cli import main
main(["run", "app.handler"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(AWS_LAMBDA_RUNTIME_API="127.0.0.1:9"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    unwanted = {"argparse", "asyncio", "logging", "traceback", "lambda_wire.bootstrap.context", "lambda_wire.local"}
    assert "lambda_wire.bootstrap.loading" in done.stdout
    assert [name for name in unwanted if f"'{name}'" in done.stdout] == []


class TestSignals:
    """SIGINT and SIGTERM raise ``Stopped`` inside the block, and only there."""

    @STOPS
    def test_a_signal_is_raised_and_remembered(self, number: signal.Signals) -> None:
        with stopped_by_signals() as stop:
            assert not stop.asked
            with pytest.raises(Stopped, match=f"{number.name} was received"):
                os.kill(os.getpid(), number)
            assert stop.asked

    def test_a_signal_that_the_parent_wants_ignored_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with stopped_by_signals() as stop:
                os.kill(os.getpid(), signal.SIGINT)
                assert not stop.asked
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("payload", [b' {"a": 1}', b"no JSON"])
def test_who_takes_the_event_as_bytes_has_it_as_it_came(payload: bytes) -> None:
    """Nothing of it was parsed, so nothing of it can be wrong."""

    def handler(event: bytes, context: object) -> bytes:  # what it is called with
        return event

    (said,) = served(handler, invocation(payload=payload)).said
    assert isinstance(said, BufferedResponse)
    assert said.payload == payload

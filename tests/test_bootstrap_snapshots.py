"""SnapStart: hooks and what becomes of them, and the same situations beside AWS's own client."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from lambda_wire import (
    Accepted,
    ConnectionLost,
    InitErrorReported,
    LocalProtocolError,
    Refused,
    RestoreReady,
)
from lambda_wire import _names as names
from lambda_wire.bootstrap import snapshots
from lambda_wire.bootstrap.snapshots import after_restore, before_snapshot, take_snapshot
from lambda_wire.bootstrap.stopping import Stopped
from lambda_wire.sync import connect
from tests.bootstrap_parts import environment
from tests.real_parts import need_module
from tests.snapshot_service import SnapshotService

PACKAGE: Final = "snapshot_restore_py"
NOT_NOW: Final = Refused(status=403, error_type="InvalidStateTransition", error_message="not now")


def serving(**options: Any) -> SnapshotService:
    all_goes_well: dict[str, Any] = {"restored": RestoreReady(), "report": Accepted()}
    return SnapshotService(**(all_goes_well | options))


def snapshot(service: SnapshotService) -> int | None:
    """Take a snapshot there, and poll for an invocation when that may be done."""
    with service, connect(service.address) as runtime:
        code = take_snapshot(runtime)
        if code is None:
            runtime.next_invocation()
        return code


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    """Registries are global; nothing may be left in them, nor found."""
    yield
    registries = [snapshots._before, snapshots._after]
    package = sys.modules.get(PACKAGE)
    if package is not None:
        registries += [package.get_before_snapshot(), package.get_after_restore()]
    for registry in registries:
        registry.clear()


@pytest.fixture
def package() -> ModuleType:
    need_module(PACKAGE)
    return importlib.import_module(PACKAGE)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``snapshot_restore_py``."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)


@pytest.fixture(params=["package", "absent"])
def either(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(request.param)


def noting(notes: list[object], note: object) -> Callable[[], None]:
    return lambda: notes.append(note)


# -- hooks


@pytest.mark.usefixtures("either")
def test_the_order() -> None:
    """Before hooks in reverse order of registration, then the poll, then after hooks in order; then an invocation.

    (RT-RESTORE-1, RT-RESTORE-5)
    """
    service = serving()
    notes: list[object] = []
    for number in (1, 2, 3):
        before_snapshot(lambda number=number: notes.append((f"before {number}", service.kinds[:])))
        after_restore(lambda number=number: notes.append((f"after {number}", service.kinds[:])))
    assert snapshot(service) is None
    assert notes == [(f"before {number}", []) for number in (3, 2, 1)] + [
        (f"after {number}", ["RestoreAsked"]) for number in (1, 2, 3)
    ]
    assert service.kinds == ["RestoreAsked", "NextAsked"]


def test_there_is_one_list_with_the_package(package: ModuleType) -> None:
    """Whichever decorators a function and its libraries use, with the arguments that only the package's take."""
    notes: list[object] = []
    package.register_before_snapshot(notes.append, "theirs 1")
    before_snapshot(noting(notes, "ours"))
    package.register_before_snapshot(lambda *, text: notes.append(text), text="theirs 2")
    package.register_after_restore(notes.append, "theirs 1")
    after_restore(noting(notes, "ours"))
    package.register_after_restore(notes.append, "theirs 2")
    assert snapshot(serving()) is None
    assert notes == ["theirs 2", "ours", "theirs 1", "theirs 1", "ours", "theirs 2"]


def test_hooks_of_both_lists_run(package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package may be found only after some hooks were registered: none is forgotten, and the order is kept."""
    notes: list[object] = []
    with monkeypatch.context() as without:
        without.setitem(sys.modules, PACKAGE, None)
        before_snapshot(noting(notes, 1))
        after_restore(noting(notes, 1))
    before_snapshot(noting(notes, 2))
    after_restore(noting(notes, 2))
    assert snapshot(serving()) is None
    assert notes == [2, 1, 1, 2]


@pytest.mark.usefixtures("either")
def test_a_hook_may_register_another() -> None:
    """It runs in the same turn, as with AWS's client."""
    notes: list[object] = []
    before_snapshot(lambda: notes.append(before_snapshot(noting(notes, "before")) is not None))
    after_restore(lambda: notes.append(after_restore(noting(notes, "after")) is not None))
    assert snapshot(serving()) is None
    assert notes == [True, "before", True, "after"]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("register", [before_snapshot, after_restore])
def test_a_decorated_function_stays_what_it_is(register: Callable[[Any], Any]) -> None:
    def hook() -> None:
        return None

    assert register(hook) is hook


async def coroutine() -> None:
    """Would not run."""


async def asynchronous_generator() -> Any:
    yield


def generator() -> Generator[None, None, None]:
    yield


RUNS_LATER = pytest.mark.parametrize("hook", [coroutine, asynchronous_generator, generator])


@RUNS_LATER
@pytest.mark.parametrize("register", [before_snapshot, after_restore])
def test_what_would_not_run_is_turned_away(register: Callable[[Any], Any], hook: Any) -> None:
    """Where it is registered, so that its author sees it."""
    with pytest.raises(TypeError, match=f"expected a plain function as a hook, got {hook.__name__}, which is async"):
        register(hook)


@RUNS_LATER
@pytest.mark.usefixtures("package")
def test_what_did_not_run_has_failed(hook: Any) -> None:
    """What is registered past us, or does not look it, is never left out in silence."""
    before_snapshot(lambda: hook())  # it does not look like what it is
    service = serving()
    assert snapshot(service) == 64
    assert service.report()[1]["errorType"] == "TypeError"


def test_what_has_no_code_of_its_own_is_a_hook() -> None:
    """Objects that can be called, and the built-in functions."""
    notes: list[object] = [1]
    before_snapshot(notes.clear)
    assert snapshot(serving()) is None
    assert notes == []


def test_the_package_is_not_looked_for_when_nobody_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no hooks does not pay for it."""
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    service = serving()
    assert snapshot(service) is None
    assert service.kinds == ["RestoreAsked", "NextAsked"]
    assert PACKAGE not in sys.modules


def test_logs_are_written_before_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left in a buffer would be written by every copy."""
    order: list[str] = []
    service = serving()
    monkeypatch.setattr(snapshots, "flush_logs", lambda: order.append(f"flush {service.kinds}"))
    assert snapshot(service) is None
    assert order == ["flush []"]


# -- failures


def fail() -> None:
    raise ValueError("böse")


@pytest.mark.usefixtures("either")
def test_a_failing_before_hook(capsys: pytest.CaptureFixture[str]) -> None:
    """No further hook runs, no snapshot is taken, it is logged and reported: 64 (RT-RESTORE-6, ER-EXIT-8)."""
    notes: list[object] = []
    before_snapshot(noting(notes, "never"))
    before_snapshot(fail)
    after_restore(noting(notes, "never"))
    service = serving()
    assert snapshot(service) == snapshots.BEFORE_SNAPSHOT_EXIT == 64
    assert (service.kinds, notes) == (["InitErrorReported"], [])
    error_type, document = service.report()
    assert error_type == "Runtime.BeforeSnapshotError"
    assert (document["errorMessage"], document["errorType"]) == ("böse", "ValueError")
    (frame,) = document["stackTrace"]
    assert frame.endswith('in fail\n    raise ValueError("böse")\n')
    (event,) = service.asked
    assert isinstance(event, InitErrorReported)
    assert json.loads(event.xray_cause)["exceptions"][0]["type"] == "ValueError"
    assert capsys.readouterr().err.startswith("[ERROR] ValueError: böse\nTraceback (most recent call last):\n")


@pytest.mark.usefixtures("either")
def test_a_failing_after_hook(capsys: pytest.CaptureFixture[str]) -> None:
    """No further hook runs, it is logged and reported: 65 (RT-RESTORE-7, ER-EXIT-8)."""
    notes: list[object] = []
    after_restore(fail)
    after_restore(noting(notes, "never"))
    service = serving()
    assert snapshot(service) == snapshots.AFTER_RESTORE_EXIT == 65
    assert (service.kinds, notes) == (["RestoreAsked", "RestoreErrorReported"], [])
    error_type, document = service.report()
    assert error_type == "Runtime.AfterRestoreError"
    assert (document["errorMessage"], document["errorType"]) == ("böse", "ValueError")
    assert capsys.readouterr().err.startswith("[ERROR] ValueError: böse\n")


@pytest.mark.parametrize(("register", "code"), [(before_snapshot, 64), (after_restore, 65)])
def test_a_hook_that_ends_the_process_has_failed(register: Callable[[Any], Any], code: int) -> None:
    """With any code, even 0: the environment is not what it should be."""
    register(lambda: sys.exit(0))
    service = serving()
    assert snapshot(service) == code
    assert service.report()[1]["errorType"] == "Runtime.ExitError"


@pytest.mark.parametrize(("register", "asked"), [(before_snapshot, []), (after_restore, ["RestoreAsked"])])
def test_a_signal_passes_through(register: Callable[[Any], Any], asked: list[str]) -> None:
    """Nothing failed, and nothing is reported."""

    def stop() -> None:
        raise Stopped("SIGTERM was received")

    register(stop)
    service = serving()
    with pytest.raises(Stopped):
        snapshot(service)
    assert service.kinds == asked


def test_a_signal_passes_through_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    service = serving()

    def stopped(**_: object) -> None:
        raise Stopped("SIGTERM was received")

    with service, connect(service.address) as runtime:
        monkeypatch.setattr(runtime, "next_restore", stopped)
        with pytest.raises(Stopped):
            take_snapshot(runtime)
    assert service.kinds == []


@pytest.mark.parametrize("options", [{"snap_start": False}, {"restored": NOT_NOW}])
def test_a_refused_snapshot_is_an_init_error(options: dict[str, Any]) -> None:
    """As with AWS's client: the environment said that one is taken."""
    after_restore(fail)
    service = serving(**options)
    assert snapshot(service) == 64
    assert service.kinds[-1] == "InitErrorReported"
    error_type, document = service.report()
    assert (error_type, document["errorType"]) == ("Runtime.BeforeSnapshotError", "RequestRefused")
    assert str(options.get("restored", "404 page not found"))[:20] in document["errorMessage"]


def test_an_answer_that_is_none_is_an_init_error() -> None:
    """Told on a new connection: on this one nothing more can be said."""
    answers = [
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    ]
    heard: list[bytes] = []

    def answer() -> None:
        for text in answers:
            with listener.accept()[0] as wire:
                heard.append(wire.recv(65_536))
                wire.sendall(text)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=answer)
        thread.start()
        with connect(f"127.0.0.1:{listener.getsockname()[1]}") as runtime:
            assert take_snapshot(runtime) == 64
        thread.join(20)
    assert [text.split(b" ")[1].rpartition(b"/runtime/")[2] for text in heard] == [b"restore/next", b"init/error"]


def test_a_service_that_is_gone_is_not_told() -> None:
    """There is nobody."""
    service = serving(restored=None)
    with pytest.raises(ConnectionLost):
        snapshot(service)
    assert service.kinds == ["RestoreAsked"]


def test_a_runtime_that_has_polled() -> None:
    """Its environment can no longer be snapshotted: a mistake of who calls us."""
    service = serving()
    with service, connect(service.address) as runtime:
        runtime.next_invocation()
        with pytest.raises(LocalProtocolError):
            take_snapshot(runtime)


@pytest.mark.parametrize("register", [before_snapshot, after_restore])
@pytest.mark.parametrize(
    ("report", "line"),
    [(None, "error could not be reported: the service closed"), (NOT_NOW, "error was refused with 403")],
)
def test_a_report_that_fails_is_logged(
    register: Callable[[Any], Any], report: Refused | None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It changes nothing of how the process ends."""
    register(fail)
    assert snapshot(serving(report=report)) in (64, 65)
    assert line in capsys.readouterr().err


# -- processes


OURS: Final = ("-m", "lambda_wire", "run", "app.handler")
HEAD: Final = """
import os
from snapshot_restore_py import register_after_restore, register_before_snapshot
def say(text):
    print(text, flush=True)
def handler(event, context):
    say("handler")
    os._exit(7)
register_before_snapshot(say, "before 1")
register_before_snapshot(say, "before 2")
register_after_restore(say, "after 1")
register_after_restore(say, "after 2")
"""
BEFORE_FAILS: Final = HEAD + "@register_before_snapshot\ndef fail():\n    raise ValueError('boom')\n"
AFTER_FAILS: Final = HEAD + "@register_after_restore\ndef fail():\n    raise ValueError('boom')\n"


def run(service: SnapshotService, directory: Path, source: str, *command: str) -> tuple[int, list[str]]:
    """Run a runtime with that function; return its exit code, and what the function said."""
    (directory / "app.py").write_text(source, encoding="utf-8")
    variables = {names.ENV_RUNTIME_API: service.address, names.ENV_INITIALIZATION_TYPE: names.SNAP_START}
    with service:
        done = subprocess.run(
            [sys.executable, *command],
            env=environment(**variables, _HANDLER="app.handler"),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    said = [line for line in done.stdout.splitlines() if line.startswith(("before", "after", "handler"))]
    return done.returncode, said


@pytest.mark.parametrize(
    ("source", "options", "code", "kinds", "error_type"),
    [
        (HEAD, {}, 7, ["RestoreAsked", "NextAsked"], ""),
        (BEFORE_FAILS, {}, 64, ["InitErrorReported"], "Runtime.BeforeSnapshotError"),
        (BEFORE_FAILS.replace("ValueError", "SystemExit"), {}, 64, ["InitErrorReported"],
         "Runtime.BeforeSnapshotError"),
        (AFTER_FAILS, {}, 65, ["RestoreAsked", "RestoreErrorReported"], "Runtime.AfterRestoreError"),
        (AFTER_FAILS.replace("ValueError", "SystemExit"), {}, 65, ["RestoreAsked", "RestoreErrorReported"],
         "Runtime.AfterRestoreError"),
        (HEAD, {"snap_start": False}, 64, ["InitErrorReported"], "Runtime.BeforeSnapshotError"),
        (HEAD, {"restored": NOT_NOW}, 64, ["RestoreAsked", "InitErrorReported"], "Runtime.BeforeSnapshotError"),
    ],
    ids=["restored", "before", "before exits", "after", "after exits", "404", "403"],
)  # fmt: skip
def test_awss_client_does_the_same(
    source: str, options: dict[str, Any], code: int, kinds: list[str], error_type: str, tmp_path: Path
) -> None:
    """The same requests in the same order, the same hooks, error types and exit codes, and the same documents.

    These are others where they tell of machinery: its frames, its own exceptions, how we call the end of the process.
    (RT-RESTORE-1)
    """
    need_module("awslambdaric")
    need_module(PACKAGE)
    reports = []
    for command in (("-m", "awslambdaric", "app.handler"), OURS):
        service = serving(**options)
        ended, said = run(service, tmp_path, source, *command)
        assert (ended, service.kinds) == (code, kinds), command
        restored = code in (7, 65)
        expected = ["before 2", "before 1"] * ("BeforeSnapshot" not in error_type or source is HEAD)
        assert said == expected + ["after 1", "after 2"] * restored + ["handler"] * (code == 7), command
        if error_type:
            reports.append(service.report())
    for told_type, document in reports:
        assert told_type == error_type
        assert document.keys() >= {"errorMessage", "errorType", "stackTrace"}
    if "ValueError" in source:
        (_, theirs), (_, ours) = reports
        assert (ours["errorMessage"], ours["errorType"]) == (theirs["errorMessage"], theirs["errorType"])
        assert ours["stackTrace"] == theirs["stackTrace"][-1:]


ALONE: Final = """
import sys
sys.modules["snapshot_restore_py"] = None
from lambda_wire.bootstrap.snapshots import after_restore, before_snapshot
@before_snapshot
def first():
    print("before 1", flush=True)
@before_snapshot
def second():
    print("before 2", flush=True)
@after_restore
def third():
    print("after", flush=True)
def handler(event, context):
    sys.exit(7)
"""


def test_a_process_without_the_package(tmp_path: Path) -> None:
    """It is no requirement of ours: our own decorators do."""
    service = serving()
    assert run(service, tmp_path, ALONE, *OURS) == (7, ["before 2", "before 1", "after"])
    assert service.kinds == ["RestoreAsked", "NextAsked", "ErrorReported"]

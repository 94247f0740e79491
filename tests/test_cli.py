"""The command line: what it does with arguments, and how it says that they are wrong."""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TypeAlias

import pytest

from lambda_wire.cli import main
from tests.bootstrap_parts import environment

Served: TypeAlias = tuple[str, str, int, "int | None"]
SERVE = "lambda_wire.bootstrap.command.serve"


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """Record what would be served instead of serving it."""
    calls: list[Served] = []

    def serve(handler: str, address: str, *, concurrency: int, margin_ms: int | None) -> int:
        calls.append((handler, address, concurrency, margin_ms))
        return 0

    monkeypatch.setattr(SERVE, serve)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    monkeypatch.delenv("_HANDLER", raising=False)
    monkeypatch.delenv("AWS_LAMBDA_MAX_CONCURRENCY", raising=False)
    return calls


def test_run_serves_the_handler_that_is_named(served: list[Served]) -> None:
    assert main(["run", "app.handler"]) == 0
    assert served == [("app.handler", "127.0.0.1:9001", 1, None)]


def test_run_without_a_name_serves_what_the_environment_names(
    served: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_HANDLER", "pkg/mod.func")
    assert main(["run"]) == 0
    assert main(["run", "--"]) == 0
    assert main(["run", "app.handler"]) == 0
    assert [handler for handler, *_ in served] == ["pkg/mod.func", "pkg/mod.func", "app.handler"]


def test_arguments_come_from_the_command_line(served: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lambda-wire", "run", "app.handler"])
    assert main() == 0
    assert served == [("app.handler", "127.0.0.1:9001", 1, None)]


@pytest.mark.parametrize("collects", [True, False])
def test_run_leaves_the_collector_as_it_was(collects: bool, served: list[Served]) -> None:
    """It rests only while our own rooms are loaded."""
    try:
        (gc.enable if collects else gc.disable)()
        assert main(["run", "app.handler"]) == 0
        assert gc.isenabled() is collects
    finally:
        gc.enable()
    assert len(served) == 1


def test_the_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SERVE, lambda *_, **__: 1)
    assert main(["run", "app.handler"]) == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ([], {}, "no command was given; the commands are: run, local, invoke, decode (see lambda-wire --help)"),
        (["fly"], {}, "there is no command 'fly'; the commands are: run, local, invoke, decode"),
        (["run"], {}, "no handler: name it as MODULE.FUNCTION, or set _HANDLER"),
        (["run", "a.b"], {"AWS_LAMBDA_RUNTIME_API": ""}, "AWS_LAMBDA_RUNTIME_API is not set: "),
    ],
)
def test_wrong_usage_is_2_and_one_line_that_says_what_to_do(
    arguments: list[str],
    variables: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"lambda-wire: {said}")


@pytest.mark.parametrize("arguments", [["run", "a.b", "c.d"], ["run", "--fast"]])
def test_arguments_that_a_command_does_not_take_are_2_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("lambda-wire run: unrecognized arguments: ")
    assert err.endswith("(see lambda-wire run --help)\n")
    assert err.count("\n") == 1


def test_a_runtime_api_that_is_no_address_is_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "http://127.0.0.1")
    assert main(["run", "a.b"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("lambda-wire: AWS_LAMBDA_RUNTIME_API: expected the Runtime API's address as host:port")
    assert err.count("\n") == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["-h"]) == 0
    out = capsys.readouterr().out
    assert "usage: lambda-wire COMMAND" in out
    assert "\n  run    " in out
    assert "\n  local  " in out
    assert "\n  invoke  " in out
    assert "\n  decode  " in out


def test_a_command_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    assert "usage: lambda-wire run [-h] [--concurrency N]" in capsys.readouterr().out


def test_run_takes_its_options(served: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says how many invocations run at once, unless the command line does."""
    monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", "4")
    assert main(["run", "a.b"]) == 0
    assert main(["run", "--concurrency", "7", "--cancel-before-deadline", "250", "a.b"]) == 0
    assert main(["run", "--processes", "--concurrency", "1", "a.b"]) == 0
    assert [it[2:] for it in served] == [(4, None), (7, 250), (1, None)]


@pytest.mark.parametrize("said", ["0", "-1", "x", "1.5", "٣", "1001"])
def test_a_concurrency_that_is_none_is_2_and_one_line(
    said: str, served: list[Served], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line as from the environment."""
    with pytest.raises(SystemExit) as caught:
        main(["run", f"--concurrency={said}", "a.b"])
    monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", said)
    assert (caught.value.code, main(["run", "a.b"]), served) == (2, 2, [])
    first, second = capsys.readouterr().err.splitlines()
    assert f"expected a number from 1 to 1000, got {said!r}" in first
    assert second == f"lambda-wire: AWS_LAMBDA_MAX_CONCURRENCY: expected a number from 1 to 1000, got {said!r}"


@pytest.mark.parametrize("name", ["local", "invoke", "decode"])
def test_a_program_is_loaded_when_it_is_chosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its own words, and says itself what they may be."""
    program = ModuleType(f"lambda_wire.{name}")
    seen: list[tuple[str, list[str]]] = []

    def run(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
        seen.append((parser.prog, arguments))
        return 1

    vars(program).update(run=run)
    monkeypatch.setitem(sys.modules, program.__name__, program)
    assert main([name, "--port", "7", "a.b"]) == 1
    assert seen == [(f"lambda-wire {name}", ["--port", "7", "a.b"])]


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(SERVE, interrupted)
    assert main(["run", "a.b"]) == 1


def test_python_m_is_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lambda_wire", "run"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lambda-wire: no handler: name it as MODULE.FUNCTION, or set _HANDLER\n"


def test_nothing_at_all_is_wrong_usage() -> None:
    """As the installed program is called: its name and no argument."""
    run = subprocess.run([sys.executable, "-m", "lambda_wire"], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("lambda-wire: no command was given")
    assert run.stderr.count("\n") == 1


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Name and version, as other programs have it."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lambda-wire {version('lambda-wire')}\n"

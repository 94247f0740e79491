"""The command line: what it does with arguments, and how it says that they are wrong."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from lambda_wire import bootstrap
from lambda_wire.cli import main
from tests.bootstrap_parts import environment


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record what would be served instead of serving it."""
    calls: list[tuple[str, str]] = []

    def serve(handler: str, address: str) -> int:
        calls.append((handler, address))
        return 0

    monkeypatch.setattr(bootstrap, "serve", serve)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    monkeypatch.delenv("_HANDLER", raising=False)
    return calls


def test_run_serves_the_handler_that_is_named(served: list[tuple[str, str]]) -> None:
    assert main(["run", "app.handler"]) == 0
    assert served == [("app.handler", "127.0.0.1:9001")]


def test_run_without_a_name_serves_what_the_environment_names(
    served: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_HANDLER", "pkg/mod.func")
    assert main(["run"]) == 0
    assert main(["run", "--"]) == 0
    assert main(["run", "app.handler"]) == 0
    assert [handler for handler, _ in served] == ["pkg/mod.func", "pkg/mod.func", "app.handler"]


def test_arguments_come_from_the_command_line(served: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lambda-wire", "run", "app.handler"])
    assert main() == 0
    assert served == [("app.handler", "127.0.0.1:9001")]


def test_the_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "serve", lambda handler, address: 1)
    assert main(["run", "app.handler"]) == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ([], {}, "no command was given; the commands are: run, local, invoke (see lambda-wire --help)"),
        (["fly"], {}, "there is no command 'fly'; the commands are: run, local, invoke"),
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


def test_a_command_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    assert "usage: lambda-wire run [-h] [MODULE.FUNCTION]" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["local", "invoke"])
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
    def interrupted(handler: str, address: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "serve", interrupted)
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

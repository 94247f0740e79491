"""``lambda-wire run`` takes what its arguments and its environment say to who serves."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import pytest

from lambda_wire._malformed import Malformed
from lambda_wire.bootstrap import command
from lambda_wire.bootstrap.logs import current_request_id, show_logging


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record what would be served instead of serving it."""
    calls: list[object] = []

    def serve(handler: str, address: str, *, concurrency: int, margin_ms: int | None) -> int:
        if address == "bad":
            raise Malformed("expected host:port")
        calls.append((handler, address, concurrency, margin_ms))
        return 3

    def serve_in_processes(arguments: Sequence[str], count: int) -> int:
        calls.append((list(arguments), count))
        return 4

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.setattr("lambda_wire.bootstrap.processes.serve_in_processes", serve_in_processes)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "h:1")
    for name in ("_HANDLER", "AWS_LAMBDA_MAX_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    return calls


def run(*arguments: str) -> int:
    return command.run(lambda: argparse.ArgumentParser(prog="run"), arguments)


def test_arguments_decide_and_the_environment_where_they_are_silent(
    served: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is that of who served."""
    assert run("a.b") == 3
    monkeypatch.setenv("_HANDLER", "c.d")
    monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", "5")
    assert run() == 3
    assert run("--concurrency", "2", "--cancel-before-deadline", "9", "a.b") == 3
    assert served == [("a.b", "h:1", 1, None), ("c.d", "h:1", 5, None), ("a.b", "h:1", 2, 9)]


def test_processes_are_told_to_run_one_at_a_time(served: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, which they inherit; and one process needs no other."""
    monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", "5")
    assert run("--processes", "a.b") == 4
    assert run("--processes", "--cancel-before-deadline", "0", "--concurrency", "2", "--", "-odd.name") == 4
    assert run("--processes", "--concurrency", "1", "a.b") == 3
    margin = ["--cancel-before-deadline", "0"]
    assert served == [
        (["run", "--concurrency", "1", "--", "a.b"], 5),
        (["run", "--concurrency", "1", *margin, "--", "-odd.name"], 2),
        ("a.b", "h:1", 1, None),
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("_HANDLER", "", "no handler: name it as MODULE.FUNCTION, or set _HANDLER"),
        ("AWS_LAMBDA_RUNTIME_API", "", "AWS_LAMBDA_RUNTIME_API is not set"),
        ("AWS_LAMBDA_RUNTIME_API", "bad", "AWS_LAMBDA_RUNTIME_API: expected host:port"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "many", "AWS_LAMBDA_MAX_CONCURRENCY: expected a number from 1 to 1000"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_2(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to do."""
    monkeypatch.setenv("_HANDLER", "a.b")
    monkeypatch.setenv(name, value)
    assert run() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lambda-wire: {said}")


@pytest.mark.parametrize("wrong", [["--concurrency", "0"], ["--cancel-before-deadline", "900001"]])
def test_a_number_that_is_none_is_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It says which are."""
    with pytest.raises(SystemExit) as caught:
        run(*wrong, "a.b")
    assert caught.value.code == 2
    assert "expected a number from" in capsys.readouterr().err


# -- its log, in this process


def test_each_line_of_the_log_names_its_invocation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the context that it is written in; what has been configured is kept."""
    root = logging.RootLogger(logging.INFO)
    monkeypatch.setattr(logging, "root", root)
    show_logging()
    show_logging()
    (handler,) = root.handlers
    token = current_request_id.set("r1")
    root.info("one")
    current_request_id.reset(token)
    root.info("two")
    handler.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("\t")[2:] == ["r1", "one"]
    assert second.split("\t")[2:] == ["", "two"]


def test_who_does_not_log_has_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing ``logging`` costs more than the rest of a cold start."""
    root = logging.RootLogger(logging.INFO)
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.delitem(sys.modules, "logging")
    show_logging()
    assert root.handlers == []

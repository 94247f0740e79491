"""What is said of an exception reaches the service and the log, whatever the exception is."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lambda_wire import HttpResponse, Refused
from lambda_wire.bootstrap import failures
from lambda_wire.bootstrap.failures import (
    RuntimeFault,
    cause,
    describe,
    ends_process,
    flush_logs,
    log_failure,
    log_line,
    refusal,
)


def caught(fault: BaseException) -> BaseException:
    try:
        raise fault
    except BaseException as raised:  # noqa: BLE001  # all of them
        return raised


class Mute(Exception):
    """Has no words."""

    def __str__(self) -> str:
        raise LookupError


def test_a_failure_is_message_type_and_stack() -> None:
    """The stack is text without carets, as AWS's client formats it."""
    told = describe(caught(ValueError("böse")))
    assert (told.error_message, told.error_type) == ("böse", "ValueError")
    (frame,) = told.stack_trace
    assert frame == f'  File "{__file__}", line {frame.split("line ")[1].split(",")[0]}, in caught\n    raise fault\n'


def test_a_fault_of_the_runtime_says_its_own_type_and_stack() -> None:
    told = describe(caught(RuntimeFault("Runtime.X", "bad", ("  here\n",))))
    assert (told.error_message, told.error_type, told.stack_trace) == ("bad", "Runtime.X", ("  here\n",))
    (link,) = json.loads(cause(caught(RuntimeFault("Runtime.X", "bad"))))["exceptions"]
    assert link == {"message": "bad", "type": "Runtime.X", "stack": []}


def test_an_exception_that_cannot_speak_is_reported() -> None:
    assert describe(Mute()).error_message == "(Mute has no message: its __str__ raised LookupError)"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (SystemExit(3), "the runtime process ends: SystemExit: 3"),
        (SystemExit(), "the runtime process ends: SystemExit"),
        (KeyboardInterrupt("x"), "the runtime process ends: KeyboardInterrupt: x"),
        (GeneratorExit(), "the runtime process ends: GeneratorExit"),
    ],
)
def test_what_ends_the_process_is_an_exit_error(fault: BaseException, message: str) -> None:
    assert ends_process(fault)
    assert (describe(fault).error_message, describe(fault).error_type) == (message, "Runtime.ExitError")


def test_a_cancelled_task_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does an exception, whether asyncio was imported or not."""
    assert not ends_process(asyncio.CancelledError())
    assert not ends_process(ValueError())
    monkeypatch.delitem(sys.modules, "asyncio")
    assert not ends_process(ValueError())
    assert ends_process(SystemExit())
    assert describe(caught(ValueError())).stack_trace


def test_a_file_name_that_no_file_can_have_costs_only_its_line() -> None:
    """A lone surrogate cannot be opened: what is known of the frame is reported all the same."""
    room: dict[str, Any] = {}
    exec(compile("def fail():\n    raise ValueError('deep')\n", "app\ud800.py", "exec"), room)
    with pytest.raises(ValueError, match="deep") as raised:
        room["fail"]()
    told = describe(raised.value)
    assert told.stack_trace[-1] == '  File "app\ud800.py", line 2, in fail\n'
    assert json.loads(cause(raised.value))["exceptions"][0]["stack"][-1]["label"] == "fail"


def test_xray_is_told_the_chain_of_causes() -> None:
    """Explicit causes and contexts, unless the context was suppressed."""
    try:
        try:
            raise KeyError("deep")
        except KeyError:
            raise ValueError("middle") from None
    except ValueError as middle:
        try:
            raise TypeError("top") from middle
        except TypeError as top:
            told = json.loads(cause(top))
    assert [link["type"] for link in told["exceptions"]] == ["TypeError", "ValueError"]
    assert told["exceptions"][0]["stack"][0]["path"] == __file__
    assert told["paths"] == [__file__]
    assert told["working_directory"] == os.getcwd()


def test_a_chain_that_bites_its_tail_is_cut() -> None:
    one, other = ValueError("1"), ValueError("2")
    one.__context__, other.__context__ = other, one
    assert len(json.loads(cause(one))["exceptions"]) == 10


def test_a_working_directory_that_is_gone_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert json.loads(cause(ValueError()))["working_directory"] == ""


def test_of_a_stack_that_is_all_ours_the_last_frame_is_kept() -> None:
    """Then it is the only thing that tells."""
    with pytest.raises(AttributeError) as raised:
        failures.log_line(None)  # type: ignore[arg-type]  # the mistake is the point
    fault = raised.value
    assert fault.__traceback__ is not None
    fault.__traceback__ = fault.__traceback__.tb_next  # without this test's own frame
    (frame,) = describe(fault).stack_trace
    assert "failures.py" in frame


def test_what_we_do_for_the_handler_is_not_its_stack() -> None:
    """A mistake in a handler's own line ends there: what checks it lies below."""
    with pytest.raises(ValueError, match="header") as raised:
        HttpResponse(headers={"bad name": "x"})
    stack = describe(raised.value).stack_trace
    assert "test_bootstrap_failures.py" in stack[-1]


def test_the_log_has_the_whole_failure(capsys: pytest.CaptureFixture[str]) -> None:
    log_failure(describe(RuntimeFault("Runtime.X", "two\nlines", ("  here\n",))))
    log_failure(describe(RuntimeFault("Runtime.Y", "書")))
    assert capsys.readouterr().err == (
        "[ERROR] Runtime.X: two\nlines\nTraceback (most recent call last):\n  here\n[ERROR] Runtime.Y: 書\n"
    )


def test_what_the_runtime_says_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_line("one\r\ntwo")
    assert capsys.readouterr().err == "lambda-wire: one two\n"


def test_a_closed_log_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(sys, "stdout", closed)
    log_line("nobody reads this")
    flush_logs()


def test_a_refusal_is_shown_with_what_it_has() -> None:
    told = Refused(status=413, error_type="RequestEntityTooLarge", error_message="Too large.")
    assert refusal(told) == "413 RequestEntityTooLarge: Too large."
    assert refusal(Refused(status=404, error_message="page not found")) == "404 page not found"

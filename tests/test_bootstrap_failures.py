"""What is said of an exception reaches the service and the log, whatever the exception is."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lambda_wire import (
    Accepted,
    HttpResponse,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseStarted,
)
from lambda_wire.bootstrap import failures
from lambda_wire.bootstrap.context import LambdaContext
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
from tests.bootstrap_parts import invocation, served
from tests.slot_parts import answer_of, polls_of, running_child, service_of, told


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
    """Explicit causes and contexts, unless the context was suppressed (ER-XRAY-1)."""
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


class Raising:
    """A log that takes nothing, and says so in its own way."""

    def write(self, text: str) -> int:
        raise LookupError(text)

    def flush(self) -> None:
        raise LookupError


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


LOGS = pytest.mark.parametrize("log", [None, closed(), Raising(), 7], ids=["none", "closed", "raising", "number"])


@LOGS
def test_a_log_that_takes_nothing_costs_nothing(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in its place, or nothing."""
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(sys, "stdout", log)
    log_line("nobody reads this")
    flush_logs()
    monkeypatch.delattr(sys, "stderr")
    monkeypatch.delattr(sys, "stdout")
    log_line("nobody reads this")
    flush_logs()


@LOGS
def test_a_log_never_decides_about_an_answer(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a handler lets its words go: it is answered, its failure is reported, and the next one is served."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))

    def handler(event: object, context: LambdaContext) -> object:
        sys.stdout = sys.stderr = log
        context.log("nobody reads this")
        if event == "fail":
            raise ValueError("my mistake")
        return event

    runtime = served(handler, invocation(1), invocation("fail"), invocation(2))
    assert runtime.kinds == ["BufferedResponse", "ErrorReported", "BufferedResponse"]
    assert runtime.error["errorMessage"] == "my mistake"


LEAKS = """
import os, resource

held = []

def leak():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass

def plain():
    raise ValueError("mine")

def streamed():
    yield "half"
    raise ValueError("mine")

async def awaited():
    return 1

def handler(event, context):
    leak()
    return globals()[event]()
"""


@pytest.mark.parametrize("concurrency", ["1", "2"])
@pytest.mark.parametrize(
    ("kind", "error_type"), [("plain", "ValueError"), ("streamed", "ValueError"), ("awaited", "OSError")]
)
def test_a_handler_that_leaks_every_descriptor_is_reported(
    kind: str, error_type: str, concurrency: str, tmp_path: Path
) -> None:
    """What a report needs was loaded before; a loop that cannot be made for want of them is a failure; the end is 0."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, LEAKS, tmp_path, "--concurrency", concurrency))
        held, *_ = polls_of(listener, int(concurrency), stack)
        told(held, kind)
        if kind == "streamed":
            assert isinstance(held.hear(), ResponseStarted)
            assert held.hear() == ResponseChunk(data=b"half")
            failed = held.hear()
            assert isinstance(failed, ResponseFailed)
            document = json.loads(failed.error_body)
            held.say(Accepted())
        else:
            document = json.loads(answer_of(held))
        assert document["errorType"] == error_type
        assert document["stackTrace"] != []
        assert held.hear() == NextAsked()
        child.send()
        assert child.end()[:2] == (0, "")


def test_a_refusal_is_shown_with_what_it_has() -> None:
    told = Refused(status=413, error_type="RequestEntityTooLarge", error_message="Too large.")
    assert refusal(told) == "413 RequestEntityTooLarge: Too large."
    assert refusal(Refused(status=404, error_message="page not found")) == "404 page not found"

"""InvokeWithResponseStream of ``lambda-wire local`` where processes count: their end, their log, their memory."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.aws_sdk import lambda_client, log_of, whole
from tests.running_local import RunningLocal, running_local

PIECE: Final = bytes(range(256)) * 256
MIB: Final = 1024 * 1024
TIMEOUT_S: Final = 2

APP = """
import os, sys, time
from lambda_wire import StreamingResponse

PIECE = bytes(range(256)) * 256

def end(how):
    if how == "raise":
        raise ValueError("n\\u00f6")
    if how == "exit":
        os._exit(7)
    time.sleep(600)

def fail(event, context):
    def body():
        yield from event["pieces"]
        end(event["how"])
    if "pieces" not in event:
        end(event["how"])
    return StreamingResponse(body())

def talk(event, context):
    for number in range(event["lines"]):
        print(f"line {number:04}", "x" * 80)
    print("last words", file=sys.stderr, flush=True)
    return StreamingResponse(["done"]) if event["streams"] else "done"

def pour(event, context):
    if event == "pid":
        return os.getpid()
    return StreamingResponse(number.to_bytes(4, "big") + PIECE[4:] for number in range(event))
"""


@contextmanager
def sdk_around(handler: str, directory: Path, *options: str) -> Iterator[tuple[Any, RunningLocal]]:
    """AWS's SDK, and behind it the command as its users start it."""
    (directory / "app.py").write_text(APP, encoding="utf-8")
    with (
        running_local(handler, cwd=directory, options=options) as local,
        lambda_client(f"http://127.0.0.1:{local.port}") as aws,
    ):
        yield aws, local


# -- failures


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One command for all failures: none of them disturbs the next."""
    with sdk_around("app.fail", tmp_path_factory.mktemp("failing"), "--timeout", str(TIMEOUT_S)) as (aws, _):
        yield aws


@pytest.mark.parametrize("before", [{}, {"pieces": []}, {"pieces": ["be", "gun"]}])
@pytest.mark.parametrize(
    ("how", "code", "message", "status"),
    [
        ("raise", "ValueError", "nö", "error"),
        ("exit", "Runtime.ExitError", "RequestId: {id} Error: Runtime exited with error: exit status 7", "error"),
        ("hang", "Sandbox.Timedout", "RequestId: {id} Error: Task timed out after 2.00 seconds", "timeout"),
    ],
)
def test_a_failure_is_told_at_the_end(
    failing: Any, how: str, code: str, message: str, status: str, before: dict[str, list[str]]
) -> None:
    """Before the stream, in it or after bytes: what was written is kept, type and document stand in InvokeComplete.

    So say AWS's documents and the tests of its client for .NET; a recording of 2026-09 has no such members.

    It shows ES-MESSAGE-21, ES-MESSAGE-25, IN-LOG-6, IN-STREAM-16, RS-TRAILER-9, RS-END-6, UN-6.
    """
    event = json.dumps({"how": how, **before})
    answer = failing.invoke_with_response_stream(FunctionName="any", LogType="Tail", Payload=event)
    chunks, complete = whole(answer)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert (answer["StatusCode"], chunks) == (200, [piece.encode() for piece in before.get("pieces", [])])
    assert complete.keys() == {"ErrorCode", "ErrorDetails", "LogResult"}
    document = json.loads(complete["ErrorDetails"])
    assert complete["ErrorCode"] == document["errorType"] == code
    assert document["errorMessage"] == message.format(id=request_id)
    assert bool(document.get("stackTrace")) == (how == "raise")
    report = log_of(complete["LogResult"]).splitlines()[-1]
    assert report.startswith(f"REPORT RequestId: {request_id}\t")
    assert report.endswith(f"\tStatus: {status}")


def test_a_runtime_that_cannot_start_is_told_at_the_end(tmp_path: Path) -> None:
    """No chunk; the document of /init/error."""
    (tmp_path / "broken.py").write_text("raise LookupError('cannot start')\n", encoding="ascii")
    with sdk_around("broken.handler", tmp_path) as (aws, _):
        for _ in range(2):
            chunks, complete = whole(aws.invoke_with_response_stream(FunctionName="any"))
            document = json.loads(complete["ErrorDetails"])
            assert (chunks, complete["ErrorCode"]) == ([], document["errorType"])
            assert "cannot start" in document["errorMessage"]


# -- the log


@pytest.mark.parametrize("streams", [True, False])
def test_the_end_of_the_log_holds_what_the_function_printed(tmp_path: Path, streams: bool) -> None:
    """To stdout and stderr, in this invocation and in no other; the terminal shows it, too.

    It shows IN-LOG-1, IN-LOG-2.
    """
    with sdk_around("app.talk", tmp_path) as (aws, local):

        def log(lines: int) -> str:
            arguments = {
                "FunctionName": "any",
                "LogType": "Tail",
                "Payload": json.dumps({"lines": lines, "streams": streams}),
            }
            if not streams:
                answer = aws.invoke(**arguments)
                assert answer["Payload"].read() == b'"done"'
                return log_of(answer["LogResult"])
            chunks, complete = whole(aws.invoke_with_response_stream(**arguments))
            assert (chunks, list(complete)) == ([b"done"], ["LogResult"])
            return log_of(complete["LogResult"])

        long = log(100)
        assert len(long) == 4096
        assert "line 0099 x" in long
        assert "line 0000" not in long
        assert "last words\n" in long
        assert long.splitlines()[-1].startswith("REPORT RequestId: ")
        short = log(1)
        assert short.startswith("START RequestId: ")
        assert [line for line in short.splitlines() if line.startswith("line")] == ["line 0000 " + "x" * 80]
        assert short.count("last words\n") == short.count("REPORT") == 1
        local.wait_for(short.splitlines()[-1])
        assert "line 0050" in local.output
        assert local.output.count("last words\n") == 2


def test_invoke_gives_no_log_to_who_does_not_ask(tmp_path: Path) -> None:
    """Nor to a caller who does not wait (IN-LOG-3, IN-LOG-4)."""
    with sdk_around("app.talk", tmp_path) as (aws, _):
        payload = json.dumps({"lines": 1, "streams": False})
        assert "LogResult" not in aws.invoke(FunctionName="any", Payload=payload)
        for kind in ("Event", "DryRun"):
            assert "LogResult" not in aws.invoke(
                FunctionName="any", Payload=payload, InvocationType=kind, LogType="Tail"
            )


def test_invoke_gives_the_log_of_a_failure(tmp_path: Path) -> None:
    """The document is the payload, as ever."""
    with sdk_around("app.fail", tmp_path) as (aws, _):
        answer = aws.invoke(FunctionName="any", Payload='{"how": "raise"}', LogType="Tail")
        assert answer["FunctionError"] == "Unhandled"
        assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"
        assert "[ERROR] ValueError: nö" in log_of(answer["LogResult"])
        assert log_of(answer["LogResult"]).splitlines()[-1].endswith("\tStatus: error")


# -- memory


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process has held so far. Source: proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def digests(aws: Any, pieces: int) -> tuple[tuple[int, str], tuple[int, str]]:
    """Stream that many pieces; return size and digest of what came, and of what should have."""
    size, came, should = 0, hashlib.sha256(), hashlib.sha256()
    stream = iter(aws.invoke_with_response_stream(FunctionName="any", Payload=str(pieces))["EventStream"])
    for event in stream:
        if "InvokeComplete" in event:
            assert event == {"InvokeComplete": {}}
            break
        piece = event["PayloadChunk"]["Payload"]
        size += len(piece)
        came.update(piece)
    assert list(stream) == []
    for number in range(pieces):
        should.update(number.to_bytes(4, "big") + PIECE[4:])
    return (size, came.hexdigest()), (pieces * len(PIECE), should.hexdigest())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of another process's memory is read from /proc")
def test_150_mib_pass_through_constant_memory(tmp_path: Path) -> None:
    """Both processes, the command's and the function's, hold little more than for 8 MiB."""
    with sdk_around("app.pour", tmp_path) as (aws, local):
        child = json.loads(aws.invoke(FunctionName="any", Payload='"pid"')["Payload"].read())
        came, should = digests(aws, 8 * MIB // len(PIECE))
        assert came == should
        before = [peak(local.process.pid), peak(child)]
        came, should = digests(aws, 150 * MIB // len(PIECE))
        assert came == should
        assert came[0] == 150 * MIB
        growth = [
            after - peak_before
            for after, peak_before in zip([peak(local.process.pid), peak(child)], before, strict=True)
        ]
        assert json.loads(aws.invoke(FunctionName="any", Payload='"pid"')["Payload"].read()) == child
    assert max(growth) < 16 * MIB, growth

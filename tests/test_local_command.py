"""``lambda-wire local`` as its users start it: real processes around our own bootstrap, AWS's client, and others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_wire.local.terminal import Terminal
from lambda_wire.local.worker import child_environment, child_process
from tests.real_parts import need_module
from tests.running_local import PATIENCE_S, ROOT, is_alive, running_local

APP = """
import json, os, signal, subprocess, sys, time
from lambda_wire._responses import HttpResponse

def echo(event, context):
    return event

def pid(event, context):
    return os.getpid()

def environ(event, context):
    return dict(os.environ)

def stream(event, context):
    def body():
        yield "1\\n"
        with open("gate") as gate:
            gate.read()
        yield "2\\n"
    return HttpResponse(headers={"content-type": "text/plain"}, cookies=["seen=1"], body=body())

def meet(event, context):
    for name in ("a", "b"):  # opening a FIFO waits for its other end
        with open(name, "w" if event == name else "r"):
            pass
    return os.getpid()

def die(event, context):
    if event == "exit":
        os._exit(7)
    if event == "quietly":
        os._exit(0)
    if event == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(event, dict):
        def body():
            yield "begun"
            os._exit(7)
        return HttpResponse(body=body())
    return os.getpid()

def hang(event, context):
    if event == "pid":
        return os.getpid()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open("pids", "w") as pids:
        json.dump([os.getpid(), child.pid], pids)
    if isinstance(event, dict) and event.get("rawPath") == "/midway":
        def body():
            yield "begun"
            time.sleep(600)
        return HttpResponse(body=body())
    time.sleep(600)

def fail(event, context):
    raise ValueError(event)
"""

BROKEN = """
with open("starts", "a") as starts:
    starts.write("x")
raise RuntimeError("cannot start")
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    return tmp_path


# -- a handler


def test_curl_shows_the_first_byte_before_the_handler_writes_the_last(app: Path) -> None:
    """The handler, in a process of its own, writes its last line only after curl has shown the first."""
    os.mkfifo(app / "gate")
    with running_local("app.stream", cwd=app) as local:
        command = ["curl", "-sNi", f"http://127.0.0.1:{local.port}/"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
            assert curl.stdout is not None
            head = list(iter(curl.stdout.readline, "\n"))
            assert head[0] == "HTTP/1.1 200 OK\n"
            assert "Content-Type: text/plain\n" in head
            assert "Set-Cookie: seen=1\n" in head
            assert curl.stdout.readline() == "1\n"
            (app / "gate").write_text("", encoding="ascii")
            assert curl.stdout.read() == "2\n"
        assert curl.returncode == 0


def test_the_example_counts() -> None:
    """The handler that the documentation shows: its first numbers come one by one, and its caller may leave."""
    with (
        running_local("streaming.handler", cwd=ROOT / "examples") as local,
        subprocess.Popen(["curl", "-sN", f"http://127.0.0.1:{local.port}/"], stdout=subprocess.PIPE) as curl,
    ):
        assert curl.stdout is not None
        assert [curl.stdout.readline() for _ in range(2)] == [b"1\n", b"2\n"]
        curl.kill()


def test_the_terminal_shows_each_invocation(app: Path) -> None:
    """START, END and REPORT with duration, first byte and bytes; the init duration with the first only."""
    with running_local("app.echo", cwd=app) as local:
        for _ in range(2):
            assert local.invoke(b'"hi"', {"X-Amzn-RequestId": "one"})[2] == b'"hi"'
        local.invoke(b"1", {"X-Amzn-RequestId": "last"})
        report = local.wait_for("REPORT RequestId: one")
        lines = local.output.splitlines()
    first, second = (line for line in lines if line.startswith("REPORT RequestId: one"))
    assert report.rstrip("\n") == first
    names = [field.partition(":")[0] for field in first.split("\t")]
    assert names == ["REPORT RequestId", "Duration", "First Byte", "Bytes", "Init Duration"]
    assert "\tBytes: 4\t" in first
    assert "Init Duration" not in second
    assert lines.index("START RequestId: one Version: $LATEST") < lines.index("END RequestId: one")


def test_the_child_finds_the_variables_of_lambda(app: Path) -> None:
    """Credentials are passed on as they are and never made up."""
    given = {"AWS_ACCESS_KEY_ID": "mine", "AWS_LAMBDA_MAX_CONCURRENCY": "9", "_X_AMZN_TRACE_ID": "old"}
    with running_local("app.environ", cwd=app, env=given) as local:
        seen = json.loads(local.invoke()[2])
    assert seen["AWS_ACCESS_KEY_ID"] == "mine"
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert "AWS_LAMBDA_MAX_CONCURRENCY" not in seen
    assert seen["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    host, _, port = seen["AWS_LAMBDA_RUNTIME_API"].partition(":")  # RT-ENV-1
    assert (host, port.isdigit()) == ("127.0.0.1", True)
    assert (seen["_HANDLER"], seen["LAMBDA_TASK_ROOT"]) == ("app.environ", str(app))
    assert seen["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert seen["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-east-1"


def test_a_region_of_the_user_counts() -> None:
    """Whichever of the two variables he has set."""
    found = child_environment({"AWS_DEFAULT_REGION": "eu-west-1"}, address="a:1", handler="h", task_root="/")
    assert (found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")


# -- how a child may end


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", "Runtime exited with error: exit status 7"),
        ("quietly", "Runtime exited without providing a reason"),
        ("killed", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_child_that_dies_is_reported_and_replaced(app: Path, how: str, message: str) -> None:
    """Its caller gets Runtime.ExitError; the next one a new process (IN-ERROR-8, ER-EXIT-1, ER-EXIT-5)."""
    with running_local("app.die", cwd=app) as local:
        before = json.loads(local.invoke(b"1")[2])
        status, headers, body = local.invoke(json.dumps(how).encode(), {"X-Amzn-RequestId": "it"})
        assert (status, headers["x-amz-function-error"]) == (200, "Unhandled")
        assert json.loads(body) == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: it Error: {message}"}
        after = json.loads(local.invoke(b"1")[2])
        assert before != after
        assert not is_alive(before)
        assert "Status: error" in local.wait_for("REPORT RequestId: it")


def test_a_child_that_dies_midway_cuts_its_caller(app: Path) -> None:
    """No last chunk; what came before is delivered (FU-BODY-9)."""
    with running_local("app.die", cwd=app) as local:
        connection = local.connection()
        connection.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.getresponse().read()
        assert caught.value.partial == b"begun"
        connection.close()
        assert "exit status 7" in local.wait_for("ERROR RequestId")


def test_a_child_that_died_between_two_calls_is_replaced(app: Path) -> None:
    """Nobody was served by it, so nobody is told: the very next call runs, on a connection from before."""
    with running_local("app.pid", cwd=app) as local:
        connection = local.connection()
        before = 0
        for _ in range(5):
            connection.request("POST", "/2015-03-31/functions/function/invocations", body="{}")
            answer = connection.getresponse()
            assert answer.headers["x-amz-function-error"] is None, local.output
            pid = json.loads(answer.read())
            assert pid != before
            before = pid
            descriptor = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            assert _has_died(descriptor)
        connection.close()


def _has_died(descriptor: int) -> bool:
    readable, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    os.close(descriptor)
    return bool(readable)


def test_a_child_that_cannot_start_is_reported_and_not_tried_for_ever(app: Path) -> None:
    """Each caller gets the document of /init/error and causes one start; a function URL gives 502.

    (RT-INIT-5, RT-INIT-6)
    """
    with running_local("broken.handler", cwd=app) as local:
        for _ in range(2):
            status, headers, body = local.invoke()
            assert (status, headers["x-amz-function-error"]) == (200, "Unhandled")
            assert "cannot start" in json.loads(body)["errorMessage"]
        assert "Status: error" in local.wait_for("REPORT")
        assert local.request("GET", "/")[::2] == (502, b"Internal Server Error")
    assert (app / "starts").read_text(encoding="ascii") == "xxx"


def test_a_command_that_ends_at_once_is_reported(app: Path) -> None:
    """Without a word on the Runtime API (ER-EXIT-2, ER-TYPE-8)."""
    with running_local("--", sys.executable, "-c", "raise SystemExit(3)", cwd=app) as local:
        document = json.loads(local.invoke()[2])
    assert document["errorType"] == "Runtime.ExitError"
    assert document["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")


def test_a_command_that_cannot_be_started_is_reported(app: Path) -> None:
    """It is there, but no machine knows how to run it (ER-TYPE-8)."""
    bad = app / "bad"
    bad.write_bytes(b"\x7fELF nonsense")
    bad.chmod(0o755)
    with running_local("--", str(bad), cwd=app) as local:
        assert json.loads(local.invoke()[2])["errorType"] == "Runtime.InvalidEntrypoint"


# -- deadlines


def test_a_timeout_kills_the_process_group_and_replaces_it(app: Path) -> None:
    """The caller of Invoke is told in AWS's words, the caller of the URL gets 502, or is cut midway.

    (IN-ERROR-7, ER-EXIT-5, ER-EXIT-6, LI-TIME-1)
    """
    with running_local("app.hang", cwd=app, options=["--timeout", "1"]) as local:
        status, headers, body = local.invoke(b"{}", {"X-Amzn-RequestId": "it"})
        assert (status, headers["x-amz-function-error"]) == (200, "Unhandled")
        assert json.loads(body) == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: it Error: Task timed out after 1.00 seconds",
        }
        group = json.loads((app / "pids").read_text(encoding="ascii"))
        assert not any(is_alive(pid) for pid in group)
        assert json.loads(local.invoke(b'"pid"')[2]) not in group
        assert "Status: timeout" in local.wait_for("REPORT RequestId: it")
        assert local.request("GET", "/")[0] == 502
        with pytest.raises(http.client.IncompleteRead):
            local.request("GET", "/midway")


# -- many callers


def test_environments_serve_callers_at_once_each_in_a_process(app: Path) -> None:
    """Two invocations that wait for each other both end."""
    os.mkfifo(app / "a")
    os.mkfifo(app / "b")
    with (
        running_local("app.meet", cwd=app, options=["--environments", "2"]) as local,
        concurrent.futures.ThreadPoolExecutor(2) as callers,
    ):
        calls = [callers.submit(local.invoke, event) for event in (b'"a"', b'"b"')]
        pids = {json.loads(call.result(PATIENCE_S)[2]) for call in calls}
    assert len(pids) == 2


# -- around other runtimes


def test_awslambdaric_is_served_200_times_and_reports_its_errors(app: Path) -> None:
    """AWS's own client, unmodified, in one process."""
    need_module("awslambdaric")
    with running_local("--", sys.executable, "-m", "awslambdaric", "app.echo", cwd=app) as local:
        connection = local.connection()
        for number in range(200):
            connection.request("POST", "/2015-03-31/functions/function/invocations", body=str(number))
            assert connection.getresponse().read() == str(number).encode()
        connection.close()
        assert local.output.count("Init Duration") == 1
    with running_local("--", sys.executable, "-m", "awslambdaric", "app.fail", cwd=app) as local:
        _, headers, body = local.invoke(b'"why"')
        assert headers["x-amz-function-error"] == "Unhandled"
        assert json.loads(body)["errorType"] == "ValueError"
        assert json.loads(body)["errorMessage"] == "why"
    with running_local("--", sys.executable, "-m", "awslambdaric", "missing.handler", cwd=app) as local:
        assert json.loads(local.invoke()[2])["errorType"] == "Runtime.ImportModuleError"


def test_awslambdaric_that_dies_or_hangs_is_reported(app: Path) -> None:
    """The deadline and the exit status are ours to find, whatever the runtime."""
    need_module("awslambdaric")
    with running_local("--", sys.executable, "-m", "awslambdaric", "app.die", cwd=app) as local:
        assert json.loads(local.invoke(b'"exit"')[2])["errorMessage"].endswith("exit status 7")
    command = ("--", sys.executable, "-m", "awslambdaric", "app.hang")
    with running_local(*command, cwd=app, options=["--timeout", "1"]) as local:
        assert json.loads(local.invoke()[2])["errorType"] == "Sandbox.Timedout"


# -- the command itself


def test_a_module_beside_the_handler_does_not_stand_in_for_one_of_pythons(tmp_path: Path) -> None:
    """Our own imports are done when the handler's directory becomes the first that is searched."""
    (tmp_path / "selectors.py").write_text("mine = 'shadow'\n", encoding="ascii")
    (tmp_path / "beside.py").write_text("text = 'found'\n", encoding="ascii")
    (tmp_path / "plain.py").write_text(
        "import beside, sys\ndef handler(event, context):\n    return [beside.text, sys.path[0]]\n", encoding="ascii"
    )
    with running_local("plain.handler", cwd=tmp_path) as local:
        assert json.loads(local.invoke()[2]) == ["found", str(tmp_path)]


def test_an_interrupt_midway_is_told_as_what_it_is(app: Path) -> None:
    """The caller is cut, which AWS has no part in."""
    with running_local("app.hang", cwd=app) as local:
        connection = local.connection()
        connection.request("GET", "/midway")
        answer = connection.getresponse()
        assert answer.read(5) == b"begun"
        assert local.stop(signal.SIGINT) == 0
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        connection.close()
    warning = next(line for line in local.output.splitlines() if line.startswith("WARN"))
    assert "because the embedded Lambda was stopped" in warning
    assert "as AWS does" not in local.output


def test_nohup_is_heeded(app: Path) -> None:
    """Who was told to outlive its terminal does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with running_local("app.echo", cwd=app) as local:
            local.process.send_signal(signal.SIGHUP)
            assert local.invoke(b"1")[2] == b"1"
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_it_cleanly(app: Path, number: int) -> None:
    """Exit code 0, no traceback, and the children are gone, even in the middle of an invocation (LI-TIME-5)."""
    with running_local("app.hang", cwd=app) as local:
        pid = json.loads(local.invoke(b'"pid"')[2])
        waiting = local.connection()
        path = "/2015-03-31/functions/function/invocations"
        waiting.request("POST", path, body="{}", headers={"X-Amzn-RequestId": "it"})
        local.wait_for("START RequestId: it")
        assert local.stop(number) == 0
        waiting.close()
        assert not is_alive(pid)
    assert "Traceback" not in local.output


def test_a_runtime_is_asked_to_end_before_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes first, and what it still says is heard (ER-EXIT-9)."""
    monkeypatch.setattr("lambda_wire.local.worker._GRACE_S", PATIENCE_S)
    script = "trap 'echo asked to end; exit' TERM; echo up; sleep 1000 & wait"
    heard = bytearray()

    async def check(terminal: Terminal) -> None:
        up = asyncio.Event()

        def hear(data: bytes) -> None:
            heard.extend(data)
            up.set()

        child = await child_process(("sh", "-c", script), handler="", terminal=terminal)("127.0.0.1:9", hear)
        await asyncio.wait_for(up.wait(), PATIENCE_S)
        await child.stop()

    with (tmp_path / "shown").open("ab") as file:
        terminal = Terminal(file.fileno())
        asyncio.run(check(terminal))
        terminal.close()
    assert heard == b"up\nasked to end\n"


def _local(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lambda_wire", "local", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_a_port_in_use_is_one_clear_line(app: Path) -> None:
    """Exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _local("--port", str(port), "app.echo", cwd=app)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.count("127.0.0.1") == 1
    assert f"127.0.0.1:{port} (Address already in use): choose another --port" in done.stderr


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("fe80::1%none", "there is no host 'fe80::1%none': choose another --host"),  # and nobody need be asked for it
        ("a..b", "there is no host 'a..b': choose another --host"),
        ("203.0.113.1", "cannot listen on 203.0.113.1:9000 ("),  # a documentation address: nobody has it
    ],
)
def test_a_host_that_cannot_be_had_is_one_clear_line(app: Path, host: str, message: str) -> None:
    """No other port would help."""
    done = _local("--host", host, "app.echo", cwd=app)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr
    assert "--port" not in done.stderr


def test_a_missing_command_is_one_clear_line(app: Path) -> None:
    """Exit code 1, before anything is served."""
    done = _local("--", "./bootstrap", cwd=app)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "./bootstrap" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "name either a handler"),
        (("--",), "name either a handler"),
        (("a.b", "--", "c"), "name either a handler"),
        (("handler",), "name it as MODULE.FUNCTION"),
        (("app.",), "name it as MODULE.FUNCTION"),
        (("--port", "70000", "a.b"), "a port is 0 to 65535"),
        (("--port", "many", "a.b"), "a port is 0 to 65535"),
        (("--timeout", "0", "a.b"), "a timeout is a number of seconds above 0"),
        (("--timeout", "nan", "a.b"), "a timeout is a number of seconds above 0"),
        (("--environments", "0", "a.b"), "environments: 1 to 1000"),
        (("--concurrency", "1001", "a.b"), "concurrency: 1 to 1000"),
    ],
)
def test_wrong_usage_is_exit_code_2(app: Path, arguments: tuple[str, ...], expected: str) -> None:
    """And one line that says what was expected."""
    done = _local(*arguments, cwd=app)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert expected in done.stderr
    assert "_port" not in done.stderr


def test_a_lone_word_that_can_be_executed_is_a_command(app: Path) -> None:
    """``lambda-wire local -- ./bootstrap``, with everything that a runtime in a script needs."""
    script = app / "bootstrap"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -m lambda_wire run app.echo\n", encoding="ascii")
    script.chmod(0o755)
    with running_local("--", "./bootstrap", cwd=app) as local:
        assert local.invoke(b"5")[2] == b"5"

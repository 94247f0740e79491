"""``lambda-wire run`` is a working runtime under AWS's own emulator, in both of its modes.

What the emulator shows its caller of streams and errors is less than AWS does: it collects streams, ignores error
trailers in its standard mode, and answers 200 to an invocation that failed. Where that hides what is tested, the
handler's side, the log, or the managed-instances mode shows it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lambda_wire import Prelude, PreludeDecoder
from tests.real_parts import Emulator, running_emulator, running_managed_emulator

APP = """
import os, socket, time
from lambda_wire import HttpResponse, StreamingResponse

LIMIT = 6 * 1024 * 1024 + 100

def text(*pieces, fail=False):
    try:
        yield from pieces
        if fail:
            raise KeyError("mid-stream")
    finally:
        print("the generator is closed")

def buffered(event, context):
    return {"echo": event, "id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
            "name": context.function_name, "trace": context.trace_id, "env": os.environ.get("_X_AMZN_TRACE_ID")}

def raw(event, context):
    return b"\\x00raw\\xff"

def streamed(event, context):
    return text("one ", "", b"two ", "three")

def typed(event, context):
    return StreamingResponse(text("a,b"), content_type="text/csv")

def with_prelude(event, context):
    headers = {"content-type": "text/plain"}
    return HttpResponse(status_code=201, headers=headers, cookies=["a=1"], body=text("one ", "two"))

async def asynchronous(event, context):
    async def body():
        for piece in text("one ", "two"):
            yield piece
    return HttpResponse(body=body())

def written(event, context):
    with context.response_writer() as response:
        response.send_http_head(status_code=202)
        response.write("one ")
        response.write_and_finish("two")
        print("work goes on")

def before(event, context):
    raise ValueError("Größe")

def before_first_chunk(event, context):
    return text(fail=True)

def after(event, context):
    return text("half", fail=True)

def sized(event, context):
    return "x" * (LIMIT - 2 + event)

def sized_stream(event, context):
    return text(*[b"x" * 65_536] * (LIMIT // 65_536), b"x" * (LIMIT % 65_536 + event))

def dials(event, context):
    return [os.getpid(), DIALS]

def ends(event, context):
    raise SystemExit(3)

def handler(event, context):
    return globals()[event["do"]](event.get("with"), context)

DIALS = 0
_connect = socket.socket.connect_ex
def _counted(*args):
    global DIALS
    DIALS += 1
    return _connect(*args)
socket.socket.connect_ex = _counted
"""


@contextmanager
def runtime(directory: Path, *, handler: str = "app.handler", source: str = APP) -> Generator[Emulator, None, None]:
    (directory / "app.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "lambda_wire", "run", handler]
    with running_emulator(command, cwd=directory) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Generator[Emulator, None, None]:
    """One emulator for all that leaves it as it was, as on AWS."""
    with runtime(tmp_path_factory.mktemp("app")) as running:
        yield running


def invoke(emulator: Emulator, do: str, argument: object = None) -> bytes:
    status, _, body = emulator.invoke(json.dumps({"do": do, "with": argument}).encode())
    assert status == 200, (body, emulator.log[-2000:])
    return body


def head_and_body(stream: bytes) -> tuple[Prelude, bytes]:
    decoder = PreludeDecoder()
    decoder.feed(stream)
    prelude = decoder.next_prelude()
    assert isinstance(prelude, Prelude)
    return prelude, decoder.rest()


def test_buffered(emulator: Emulator) -> None:
    said = json.loads(invoke(emulator, "buffered", ["é", 1.5, None]))
    assert said["echo"] == ["é", 1.5, None]
    assert said["name"] == "test_function"
    assert 0 < said["left"] <= 30_000
    assert said["env"] == (said["trace"] or None)


def test_buffered_bytes(emulator: Emulator) -> None:
    assert invoke(emulator, "raw") == b"\x00raw\xff"


def test_streamed(emulator: Emulator) -> None:
    assert invoke(emulator, "streamed") == b"one two three"
    assert invoke(emulator, "typed") == b"a,b"


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ("with_prelude", Prelude(status_code=201, headers=(("content-type", "text/plain"),), cookies=("a=1",))),
        ("asynchronous", Prelude()),
        ("written", Prelude(status_code=202)),
    ],
)
def test_streamed_with_prelude(emulator: Emulator, do: str, expected: Prelude) -> None:
    """From a plain handler, an async one, and the response writer."""
    assert head_and_body(invoke(emulator, do)) == (expected, b"one two")


@pytest.mark.parametrize(("do", "error_type"), [("before", "ValueError"), ("before_first_chunk", "KeyError")])
def test_an_error_before_the_first_byte(emulator: Emulator, do: str, error_type: str) -> None:
    """The caller has the error document; the next invocation is served."""
    said = json.loads(invoke(emulator, do))
    assert said["errorType"] == error_type
    assert said["errorMessage"] in ("Größe", "'mid-stream'")
    assert "app.py" in said["stackTrace"][0]
    assert invoke(emulator, "streamed") == b"one two three"


def test_an_error_after_the_first_byte(emulator: Emulator) -> None:
    """This mode ignores the trailers, and shows what came before. The generator is closed and the error logged."""
    before = len(emulator.log)
    assert invoke(emulator, "after") == b"half"
    log = emulator.log[before:]
    assert "the generator is closed\n" in log
    assert "[ERROR] KeyError: 'mid-stream'" in log
    assert invoke(emulator, "streamed") == b"one two three"


@pytest.mark.parametrize("do", ["sized", "sized_stream"])
def test_6_mib_and_100_bytes_pass_and_one_more_is_refused(emulator: Emulator, do: str) -> None:
    """The refusal is one line in the log, and the next invocation is served by the same process."""
    pid = emulator.runtime_pid
    assert len(invoke(emulator, do, 0)) == 6 * 1024 * 1024 + 100
    before = len(emulator.log)
    said = json.loads(invoke(emulator, do, 1))
    assert said["errorType"] == "Function.ResponseSizeTooLarge"
    assert invoke(emulator, "streamed") == b"one two three"
    (line,) = [line for line in emulator.log[before:].splitlines() if line.startswith("lambda-wire: ")]
    assert "413 RequestEntityTooLarge" in line
    assert pid in (None, emulator.runtime_pid)


def test_200_invocations_in_a_row_on_one_connection(tmp_path: Path) -> None:
    """The process counts how often it dials; the kernel says how many connections are there at the end."""
    with runtime(tmp_path) as emulator:
        for turn in range(198):
            assert json.loads(invoke(emulator, "buffered", turn))["echo"] == turn
        assert invoke(emulator, "streamed") == b"one two three"
        pid, dials = json.loads(invoke(emulator, "dials"))
        assert (pid, dials) == (emulator.runtime_pid, 1)
        assert connections_of(pid, emulator.runtime_api) == 1


def connections_of(pid: int, address: str) -> int:
    """Count a process's connections to ``address``. Source: proc(5), /proc/PID/net/tcp and /proc/PID/fd."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    table = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    to_address = {row.split()[9] for row in table if row.split()[2].endswith(port)}
    held = {re.sub(r"\D", "", str(link.readlink())) for link in Path(f"/proc/{pid}/fd").iterdir()}
    return len(to_address & held)


@pytest.mark.parametrize(
    ("handler", "source", "error_type", "message"),
    [
        ("app.nobody", APP, "Runtime.HandlerNotFound", "Handler 'nobody' missing on module 'app'"),
        ("nowhere.handler", APP, "Runtime.ImportModuleError", "Unable to import module 'nowhere'"),
        ("app", APP, "Runtime.MalformedHandlerName", "Bad handler 'app'"),
        ("app.handler", "raise LookupError('Größe 書')", "LookupError", "Größe 書"),
        ("app.handler", "def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
    ],
)
def test_an_init_error(tmp_path: Path, handler: str, source: str, error_type: str, message: str) -> None:
    """Wrong handler names too: the caller has the document, whole, in any alphabet."""
    with runtime(tmp_path, handler=handler, source=source) as emulator:
        status, _, body = emulator.invoke(b"{}")
        said = json.loads(body)
        assert status == 502
        assert said["errorType"] == error_type
        assert message in said["errorMessage"]
        assert f"[ERROR] {error_type}: " in emulator.log


def test_sys_exit_is_reported_and_the_next_invocation_finds_a_new_process(tmp_path: Path) -> None:
    with runtime(tmp_path) as emulator:
        first, _ = json.loads(invoke(emulator, "dials"))
        status, _, body = emulator.invoke(b'{"do": "ends"}')
        said = json.loads(body)
        assert status == 502  # the emulator's word for a runtime that is gone
        assert said["errorType"] == "Runtime.ExitError"
        assert said["errorMessage"] == "the runtime process ends: SystemExit: 3"
        second, _ = json.loads(invoke(emulator, "dials"))
        assert first != second


def test_managed_instances_mode_with_one_slot() -> None:
    """Here the emulator reads the trailers, and tells its caller the content type."""
    bootstrap = f"#!/bin/sh\nexec {sys.executable} -m lambda_wire run app.handler\n"
    with running_managed_emulator(bootstrap, files={"app.py": APP}) as emulator:

        def answer(do: str, argument: object = None) -> tuple[str | None, str | None, bytes]:
            status, headers, body = emulator.invoke(
                json.dumps({"do": do, "with": argument}).encode(), {"X-Amzn-Trace-Id": "Root=1-2-3"}
            )
            assert status == 200, (body, emulator.log[-2000:])
            return headers["content-type"], headers["error-type"], body

        content_type, error, body = answer("buffered", "é")
        said = json.loads(body)
        assert (content_type, error, said["echo"]) == ("application/json", None, "é")
        assert said["trace"] == said["env"]
        assert said["trace"].startswith("Root=1-2-3")
        assert answer("streamed") == ("application/octet-stream", None, b"one two three")
        assert answer("typed") == ("text/csv", None, b"a,b")
        content_type, error, body = answer("with_prelude")
        assert content_type == "application/vnd.awslambda.http-integration-response"
        assert head_and_body(body)[1] == b"one two"
        _, error, body = answer("before")
        assert (error, json.loads(body)["errorType"]) == ("Runtime.Unknown", "ValueError")
        _, error, body = answer("after")
        assert (error, json.loads(body)["errorType"]) == ("Runtime.Unknown", "KeyError")
        assert len(answer("sized", 0)[2]) == 6 * 1024 * 1024 + 100
        assert answer("sized", 1)[1] == "Function.ResponseSizeTooLarge"
        assert answer("sized_stream", 1)[1] == "Function.ResponseSizeTooLarge"
        first, _ = json.loads(answer("dials")[2])
        for turn in range(20):
            assert json.loads(answer("buffered", turn)[2])["echo"] == turn
        assert json.loads(answer("dials")[2])[0] == first

"""``examples/other-language``: a runtime written from ``spec/`` alone serves callers, and takes what it is refused."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, Final

import pytest

from lambda_wire import Accepted, BufferedResponse, ErrorReported, Invocation, NextAsked, Refused, ResponseStarted
from lambda_wire._lifecycle import StandardLifecycle
from tests.aws_sdk import lambda_client, whole
from tests.driver_services import REFUSED, Script, accept, service
from tests.running_local import PATIENCE_S, ROOT, RunningLocal, running_local

EXAMPLE: Final = ROOT / "examples" / "other-language"
SPEC: Final = ROOT / "spec"
SOURCE: Final = EXAMPLE / "main.go"
PRELUDE: Final = {
    "statusCode": 201,
    "headers": {"content-type": "text/plain", "x-language": "go"},
    "cookies": ["seen=1"],
}
QUICKLY: Final = {"PAUSE": "1ms"}
BUILD_S: Final = 100


def tool(program: str) -> str:
    """Return where a program of Go's is: on the path, or where Go's own installer puts it."""
    found = shutil.which(program) or shutil.which(program, path="/usr/local/go/bin")
    if found is None:
        pytest.skip(f"there is no {program} on this machine")
    return found


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as its README says."""
    go = tool("go")
    program = tmp_path_factory.mktemp("built") / "bootstrap"
    command = [go, "build", "-o", str(program), SOURCE.name]
    subprocess.run(command, cwd=EXAMPLE, check=True, timeout=BUILD_S)
    return program


@pytest.fixture(scope="module")
def local(bootstrap: Path) -> Iterator[RunningLocal]:
    """One process for all: no failure of the function ends it."""
    with running_local("--", str(bootstrap), cwd=bootstrap.parent, env=QUICKLY) as running:
        yield running
    assert running.output.count("Init Duration") == 1
    assert "POST" not in running.output, "a report was refused"


def assert_it_serves_on(local: RunningLocal) -> None:
    status, fields, body = local.request("GET", "/buffered")
    assert (status, fields["content-type"], json.loads(body)) == (200, "application/json", {"answer": "in one piece"})


def begun(fields: HTTPMessage) -> tuple[str, str, list[str] | None]:
    """Return what the prelude has said."""
    return fields["content-type"], fields["x-language"], fields.get_all("set-cookie")


# -- in the embedded Lambda, for real callers


def test_it_answers_in_one_piece(local: RunningLocal) -> None:
    """A buffered result that is JSON becomes the body (FU-BODY-22)."""
    for _ in range(3):
        assert_it_serves_on(local)


def test_it_streams_an_http_response(local: RunningLocal) -> None:
    """Status, fields and cookies are those of its prelude, and the pieces come behind it (FU-HEAD, FU-PRELUDE-3)."""
    for _ in range(3):
        status, fields, body = local.request("GET", "/a?b=c")
        assert (status, *begun(fields)) == (201, "text/plain", "go", ["seen=1"])
        assert (fields["transfer-encoding"], body) == ("chunked", b"piece 1\npiece 2\npiece 3\n")


def test_each_piece_arrives_before_the_next(bootstrap: Path) -> None:
    """A stream without an end is read piece by piece: nobody waits for the whole of it (RS-CHUNK-3)."""
    with (
        running_local("--", str(bootstrap), cwd=bootstrap.parent, env=QUICKLY, options=["--timeout", "900"]) as running,
        closing(running.connection()) as connection,
    ):
        connection.request("GET", "/endless")
        with closing(connection.getresponse()) as answer:
            assert (answer.status, *begun(answer.headers)) == (201, "text/plain", "go", ["seen=1"])
            assert [answer.readline() for _ in range(5)] == [b"piece %d\n" % n for n in range(1, 6)]


def test_it_stops_before_its_deadline(bootstrap: Path) -> None:
    """The same stream fails when its time is nearly up, and the process lives on (RT-NEXT-6)."""
    with running_local("--", str(bootstrap), cwd=bootstrap.parent, env=QUICKLY, options=["--timeout", "2"]) as running:
        status, _, body = running.request("GET", "/endless")
        assert (status, body.split(b"\n", 1)[0]) == (201, b"piece 1")
        running.wait_for("failed midway")
        assert_it_serves_on(running)
        assert running.output.count("Init Duration") == 1


def test_a_failure_before_the_first_byte_is_told(local: RunningLocal) -> None:
    """To a caller of Invoke with its document, to one of the URL as 502 (RT-ERR-1, FU-BODY-7); then it serves on."""
    status, fields, body = local.invoke(b'{"rawPath":"/error"}')
    assert (status, fields["x-amz-function-error"]) == (200, "Unhandled")
    expected: dict[str, object] = {
        "errorMessage": "failed before the first byte",
        "errorType": "Function.Error",
        "stackTrace": [],
    }
    assert json.loads(body) == expected
    assert_it_serves_on(local)
    assert local.request("GET", "/error")[::2] == (502, b"Internal Server Error")
    assert_it_serves_on(local)


def test_a_failure_midway_is_told_in_trailers(local: RunningLocal) -> None:
    """Behind what came before it, to a caller that can read it (RS-TRAILER-1, RS-TRAILER-9); then it serves on."""
    with lambda_client(f"http://127.0.0.1:{local.port}") as aws:
        answer = aws.invoke_with_response_stream(FunctionName="f", Payload=b'{"rawPath":"/midway"}')
        chunks, complete = whole(answer)
    head, _, body = b"".join(chunks).partition(bytes(8))
    assert (json.loads(head), body) == (PRELUDE, b"piece 1\npiece 2\n")
    assert (complete["ErrorCode"], json.loads(complete["ErrorDetails"])["errorMessage"]) == (
        "Function.Error",
        "failed midway",
    )
    assert_it_serves_on(local)


def test_a_failure_midway_ends_the_body_of_a_url(local: RunningLocal) -> None:
    """The caller cannot tell (FU-BODY-8), the log can; then it serves on."""
    status, fields, body = local.request("GET", "/midway")
    assert (status, *begun(fields), body) == (201, "text/plain", "go", ["seen=1"], b"piece 1\npiece 2\n")
    local.wait_for("failed midway")
    assert_it_serves_on(local)


def test_a_failed_start_is_told(bootstrap: Path) -> None:
    """At ``/init/error``, with its type (RT-INIT-1)."""
    with running_local("--", str(bootstrap), cwd=bootstrap.parent, env={"PAUSE": "soon"}) as running:
        status, _, body = running.invoke()
        assert (status, json.loads(body)["errorType"]) == (200, "Function.BadPause")


# -- before a service that says what the embedded Lambda does not


def said_before(bootstrap: Path, script: Script) -> str:
    """Run the example before a service that follows a script; return what it said before it exited with status 1."""
    with service(script) as address:
        environment = {**QUICKLY, "AWS_LAMBDA_RUNTIME_API": address}
        run = subprocess.run(
            [str(bootstrap)], env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S
        )
    assert run.returncode == 1
    return run.stderr


def give(listener: socket.socket, lifecycle: StandardLifecycle, path: str, **fields: Any) -> None:
    """Answer a poll on a new connection with an event of a function URL."""
    with (polled := accept(listener, lifecycle)).wire:
        assert polled.hear() == NextAsked()
        polled.say(Invocation(payload=json.dumps({"rawPath": path}).encode(), **fields))


def end(listener: socket.socket) -> None:
    """Refuse a poll, with a status that no request leads out of."""
    with (polled := accept(listener)).wire:
        assert polled.hear() == NextAsked()
        polled.say(Refused(status=403, error_type="InvalidStateTransition", error_message="enough"))


def test_a_refusal_ends_a_stream_and_not_the_runtime(bootstrap: Path) -> None:
    """An early 413 stops a function that would never end, and the next poll is made (RS-EARLY-3, RS-EARLY-4).

    The runtime exits when that poll is refused (RT-NEXT-24).
    """

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        give(listener, lifecycle, "/endless", request_id="id-1")
        with (streaming := accept(listener, lifecycle)).wire:
            assert isinstance(streaming.hear(), ResponseStarted)
            streaming.say(REFUSED)
            end(listener)

    said = said_before(bootstrap, script)
    assert (said.count("POST invocation/id-1/response: 413"), said.count("GET")) == (1, 1)


def test_ids_are_quoted_and_echoed(bootstrap: Path) -> None:
    """Each byte as Go's paths want it, and the id of the attempt as it came (RT-PATH-5, RT-RESP-8, RT-RESP-9)."""

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        for request_id, invocation_id in (("a%20,b;c?", 'x="y"'), ("a%20,b;c?", "")):
            deadline_ms = 10**15 + len(invocation_id)
            give(
                listener,
                lifecycle,
                "/error",
                request_id=request_id,
                invocation_id=invocation_id,
                deadline_ms=deadline_ms,
            )
            with (reporting := accept(listener, lifecycle)).wire:
                event = reporting.hear()
                assert isinstance(event, ErrorReported)
                assert (event.request_id, event.invocation_id) == (request_id, invocation_id)
                reporting.say(Accepted())
        end(listener)

    said = said_before(bootstrap, script)
    assert (said.count("POST"), said.count("GET")) == (0, 1)


def test_it_answers_an_invocation_once(bootstrap: Path) -> None:
    """One whose answer was lost, and that comes again as it was, has no second answer (RT-RESP-15, RT-NEXT-20)."""

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        give(listener, lifecycle, "/buffered", request_id="id-1")
        with (answering := accept(listener, lifecycle)).wire:
            assert isinstance(answering.hear(), BufferedResponse)
        give(listener, StandardLifecycle(), "/buffered", request_id="id-1")

    assert said_before(bootstrap, script).count("POST") == 1


# -- the source


def test_it_stays_short_and_needs_nothing() -> None:
    """150 lines, and packages of the standard library, which have no dot in their first segment."""
    lines = SOURCE.read_text(encoding="ascii").splitlines()
    imports = lines[lines.index("import (") + 1 : lines.index(")")]
    assert len(lines) <= 150
    assert all(re.fullmatch(r'\t"[a-z0-9]+(/[a-z0-9]+)*"', line) for line in imports)
    assert sum(line.startswith("import") for line in lines) == 1


def test_the_rules_that_it_cites_exist() -> None:
    """As headings of pages of the specification, or as their group."""
    cited = set(re.findall(r"\b[A-Z]{2}-[A-Z]+(?:-\d+)?", SOURCE.read_text(encoding="ascii")))
    rules = {rule for page in SPEC.glob("*.md") for rule in re.findall(r"^### (\S+)$", page.read_text("utf-8"), re.M)}
    assert len(cited) > 30
    assert cited <= rules | {rule.rpartition("-")[0] for rule in rules}


def test_it_is_formatted() -> None:
    """As ``gofmt`` writes it."""
    command = [tool("gofmt"), "-l", str(SOURCE)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BUILD_S)
    assert run.stdout == ""

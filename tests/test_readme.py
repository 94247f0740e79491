"""Every command and every snippet of the README, executed as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lambda_wire import Accepted, RestoreReady, StreamingResponse
from lambda_wire.testing import LocalLambda
from tests.bootstrap_parts import environment
from tests.real_parts import missing, need_module, running_emulator
from tests.snapshot_service import SnapshotService

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
RUN, TEST, AROUND, INVOKE, DECODE = [text.strip() for kind, text in BLOCKS if kind == "console"]
EXAMPLE, WRITER, HOOKS, BOTO3, CALLER, SIGNED, IN_PYTEST, SANS_IO = [text for kind, text in BLOCKS if kind == "python"]
(DOCKERFILE,) = [text for kind, text in BLOCKS if kind == "dockerfile"]

#: The README's ports may be taken on the machine that runs this.
ANY_PORT = "--port 0"
PORT = "http://127.0.0.1:9000"


@contextmanager
def listening(command: str, directory: Path) -> Iterator[str]:
    """Run a command that serves until it is stopped; give the address that its first line names."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}" if "&&" not in command else command],
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://[\w.]+:\d+", line)
            assert found, f"expected a line that names the address, got {line!r}"
            yield found[0]
        finally:
            subprocess.run(["kill", "-TERM", "--", f"-{process.pid}"], check=False)
            process.stdout.read()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the project is, without what was built or installed in it."""
    names = ["README.md", "LICENSE", "pyproject.toml", "lambda_wire", "examples"]
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def test_the_first_command_sets_up_and_streams(checkout: Path) -> None:
    """From a bare Python to a number a second: the README's first command, and curl."""
    if shutil.which("curl") is None:
        missing("curl is not on this machine")
    with listening(f"{RUN} {ANY_PORT}", checkout) as address:
        url = f"{address}/"
        assert f"curl -N {url.replace(address, 'http://127.0.0.1:9000')}" in README
        answer = subprocess.run(["curl", "-sN", url], capture_output=True, text=True, check=True, timeout=60).stdout
        assert answer == "".join(f"{n}\n" for n in range(1, 11))


def test_the_second_command_is_what_ci_runs() -> None:
    """The command cannot run inside itself: CI runs it, to the letter."""
    assert TEST in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_example_is_the_file() -> None:
    """What the README shows is what its first command serves."""
    assert (ROOT / "examples" / "streaming.py").read_text(encoding="utf-8") == EXAMPLE


def test_any_other_runtime(tmp_path: Path) -> None:
    """The embedded Lambda around AWS's own client."""
    need_module("awslambdaric")
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return event\n")
    command = re.sub(r"--port \d+", ANY_PORT, AROUND)
    command = command.replace("lambda-wire", f"{sys.executable} -m lambda_wire", 1)
    command = command.replace("-- python", f"-- {sys.executable}", 1)
    with listening(command, tmp_path) as address:
        invoke = f"{address}/2015-03-31/functions/function/invocations"
        answer = subprocess.run(["curl", "-s", "-d", '{"n": 1}', invoke], capture_output=True, check=True, timeout=60)
        assert json.loads(answer.stdout) == {"n": 1}


def test_the_container_image_runs_under_the_emulator(tmp_path: Path) -> None:
    """The image's entry point and command are a runtime for AWS's own emulator."""
    words = [word for line in DOCKERFILE.splitlines() for word in json.loads(line.partition(" ")[2])]
    assert words[0] == "python"
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return event\n")
    with running_emulator([sys.executable, *words[1:]], cwd=tmp_path) as emulator:
        assert json.loads(emulator.invoke(b'{"n": 1}')[2]) == {"n": 1}


def test_the_writer_snippet_writes() -> None:
    """The head, both pieces, and the end while the handler goes on."""
    room: dict[str, Callable[[object, object], object]] = {}
    exec(compile(WRITER, "README.md", "exec"), room)
    with LocalLambda(room["handler"]) as function:
        stream = function.stream({})
        assert b"".join(stream) == b"first last"
        prelude = stream.prelude
        assert prelude is not None
        assert prelude.headers == (("content-type", "text/plain"),)


def test_the_hooks_run_where_a_snapshot_is_taken(tmp_path: Path) -> None:
    """Under ``lambda-wire run``, whichever of the two packages keeps the list."""
    code = HOOKS + "\n\ndef handler(event, context):\n    raise SystemExit(7)\n"
    (tmp_path / "app.py").write_text(code, encoding="utf-8")
    with SnapshotService(restored=RestoreReady(), report=Accepted()) as service:
        done = subprocess.run(
            [sys.executable, "-m", "lambda_wire", "run", "app.handler"],
            cwd=tmp_path,
            env=environment(AWS_LAMBDA_RUNTIME_API=service.address, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, service.kinds) == (7, ["RestoreAsked", "NextAsked", "ErrorReported"])
    assert done.stdout == "closing what no snapshot can hold\nopening it again, with a seed of its own\n"


def three_chunks(event: object, context: object) -> object:
    return StreamingResponse([b"1", b"2", b"3"], content_type="text/plain")


def run_against(function: LocalLambda, command: list[str]) -> str:
    """Run what the README has for its own port against another."""
    assert any(PORT in word for word in command) or "invoke" in command
    words = [word.replace(PORT, function.url) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_boto3_snippet_streams() -> None:
    """Each chunk an event, then the completion with the log."""
    need_module("boto3")
    with LocalLambda(three_chunks) as function:
        printed = run_against(function, [sys.executable, "-c", BOTO3]).splitlines()
    assert printed[:3] == [str({"PayloadChunk": {"Payload": chunk}}) for chunk in (b"1", b"2", b"3")]
    assert printed[3].startswith("{'InvokeComplete': {'LogResult': '")


def test_the_caller_snippet_streams() -> None:
    """Each chunk, then how it ended."""
    with LocalLambda(three_chunks) as function:
        printed = run_against(function, [sys.executable, "-c", CALLER]).splitlines()
    assert printed == ["b'1'", "b'2'", "b'3'"]


def test_the_signed_snippet_streams() -> None:
    """With botocore's signature on it; what that is worth, ``test_sync_caller`` says."""
    need_module("botocore")
    aws = "https://lambda.us-east-1.amazonaws.com"
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    assert aws in SIGNED
    with LocalLambda(three_chunks) as function:
        command = [sys.executable, "-c", SIGNED.replace(aws, function.url)]
        run = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **keys}
        )
    assert run.stdout.splitlines() == ["b'1'", "b'2'", "b'3'"]


def test_the_invoke_command_shows_events() -> None:
    """A line for each, in order."""
    program, *words = shlex.split(INVOKE)
    assert program == "lambda-wire"
    with LocalLambda(three_chunks) as function:
        command = [sys.executable, "-m", "lambda_wire", *words, "--endpoint", function.url]
        events = [json.loads(line)["event"] for line in run_against(function, command).splitlines()]
    assert events == ["InvokeAccepted", *["PayloadChunk"] * 3, "InvokeComplete"]


def test_the_decode_command_names_the_violation() -> None:
    """What it prints is what the README shows, and the exit code is 1."""
    command = DECODE.replace("| lambda-wire", f"| {shlex.quote(sys.executable)} -m lambda_wire")
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    shown = [text for kind, text in BLOCKS if kind == "text"][-1]
    assert (run.returncode, run.stdout) == (1, shown)


def test_the_pytest_snippet_passes(tmp_path: Path) -> None:
    """A user's tests as the README has them."""
    (tmp_path / "test_snippet.py").write_text(IN_PYTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_snippet.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert "2 passed" in run.stdout, run.stdout + run.stderr


def test_the_sans_io_snippet_holds() -> None:
    """Both ends, sharing nothing but bytes; its own assertions are the test."""
    exec(compile(SANS_IO, "README.md", "exec"), {"__name__": "readme"})
    assert SANS_IO.count("assert ") == 3

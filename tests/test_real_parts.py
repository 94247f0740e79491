"""The emulator serves a runtime of a dozen lines that knows nothing of this package; what is fetched is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import real_parts

#: Answers every invocation with the event and with who it is; the event ``"die"`` ends it.
BOOTSTRAP = f"""#!{sys.executable}
import json, os, socket, sys
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
print("runtime up", flush=True)
while True:
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        answer.readline()
        fields = dict(line.strip().lower().split(b": ", 1) for line in iter(answer.readline, b"\\r\\n"))
        event = answer.read(int(fields[b"content-length"]))
        if event == b'"die"':
            sys.exit(3)
        said = dict(event=event.decode(), uid=os.getuid(), pid=os.getpid(), cwd=os.getcwd(), **dict(os.environ))
        body = json.dumps(said).encode()
        path = b"/2018-06-01/runtime/invocation/" + fields[b"lambda-runtime-aws-request-id"] + b"/response"
        head = b"POST %b HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n" % (path, len(body))
        connection.sendall(head + body)
        answer.readline()
"""


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


def test_single_concurrency_mode_serves_a_runtime(tmp_path: Path) -> None:
    """Invocations are answered by one runtime, in the environment asked for, and nothing survives."""
    (tmp_path / "bootstrap.py").write_text(BOOTSTRAP, encoding="utf-8")
    command = [sys.executable, "bootstrap.py", "app.handler"]
    with real_parts.running_emulator(command, env={"COLOUR": "blue"}, cwd=tmp_path) as emulator:
        assert emulator.runtime_pid is None
        for turn in (b"1", b"2"):
            status, headers, body = emulator.invoke(turn)
            said = json.loads(body)
            assert (status, said["event"]) == (200, turn.decode())
            assert headers["content-type"] == "text/plain; charset=utf-8"
        assert said["COLOUR"] == "blue"
        assert said["_HANDLER"] == "app.handler"
        assert said["AWS_LAMBDA_RUNTIME_API"] == emulator.runtime_api
        assert said["cwd"] == str(tmp_path)
        assert said["pid"] == emulator.runtime_pid
        assert "runtime up" in emulator.log
    assert is_gone(said["pid"])
    assert emulator.process.returncode is not None


def test_a_runtime_that_dies_is_told_to_the_caller(tmp_path: Path) -> None:
    """The answer to a dead runtime is an answer, not a broken connection."""
    (tmp_path / "bootstrap.py").write_text(BOOTSTRAP, encoding="utf-8")
    with real_parts.running_emulator([sys.executable, "bootstrap.py"], cwd=tmp_path) as emulator:
        status, _, body = emulator.invoke(b'"die"')
        assert status == 502
        assert b"Runtime.ExitError" in body


def test_managed_instances_mode_serves_a_runtime() -> None:
    """The runtime runs as user 993 in ``/var/task``, and nothing survives."""
    files = {"sub/notes.txt": "hello"}
    with real_parts.running_managed_emulator(BOOTSTRAP, files=files, env={"COLOUR": "blue"}) as emulator:
        for turn in (b"1", b"2", b"3"):
            status, _, body = emulator.invoke(turn)
            said = json.loads(body)
            assert (status, said["event"]) == (200, turn.decode())
        assert said["uid"] == 993
        assert said["cwd"] == "/var/task"
        assert said["AWS_LAMBDA_MAX_CONCURRENCY"] == "1"
        assert said["COLOUR"] == "blue"
        assert said["pid"] == emulator.runtime_pid
    assert is_gone(said["pid"])


def test_the_emulator_is_killed_when_the_test_fails(tmp_path: Path) -> None:
    """An exception inside the block leaves neither emulator nor runtime behind."""
    (tmp_path / "bootstrap.py").write_text(BOOTSTRAP, encoding="utf-8")
    seen: list[int | None] = []

    def fail_inside() -> None:
        with real_parts.running_emulator([sys.executable, "bootstrap.py"], cwd=tmp_path) as emulator:
            emulator.invoke(b"1")
            seen.append(emulator.runtime_pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert seen[0] is not None
    assert is_gone(seen[0])


def test_the_sdk_for_node_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the version that is asked for; afterwards npm is not needed any more."""
    directory = real_parts.node_sdk()
    package = directory / "node_modules" / "@aws-sdk" / "client-lambda" / "package.json"
    assert directory.name == f"client-lambda-{json.loads(package.read_text(encoding='utf-8'))['version']}"
    found = {"node": shutil.which("node")}
    monkeypatch.setattr(shutil, "which", found.get)
    assert real_parts.node_sdk() == directory


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (real_parts.emulator, "pip could not download .*: no route|no emulator"),
        (real_parts.node_sdk, "no route|there is no"),
    ],
)
def test_a_part_that_cannot_be_had_skips_or_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: Callable[[], Path], reason: str
) -> None:
    """Offline, the reason is told: as a skip here, as a failure where real parts are required."""

    def offline(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command == ["node", "--version"]:
            return subprocess.CompletedProcess(command, 0, "v20.0.0\n", "")
        return subprocess.CompletedProcess(command, 1, "", "no route")

    monkeypatch.setattr(real_parts, "CACHE", tmp_path)
    monkeypatch.setattr(subprocess, "run", offline)
    monkeypatch.delenv(real_parts.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=reason):
        part()
    monkeypatch.setenv(real_parts.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=reason):
        part()
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], [".lock"])


@pytest.mark.parametrize(
    ("programs", "version", "reason"),
    [
        ([], "", "there is no node on this machine"),
        (["node"], "v18.20.1", "needs Node.js 20, here is v18.20.1"),
        (["node"], "v20.0.0", "there is no npm on this machine"),
    ],
)
def test_the_sdk_for_node_needs_node_and_npm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: list[str], version: str, reason: str
) -> None:
    """What is missing is named."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, f"{version}\n", "")

    monkeypatch.setattr(real_parts, "CACHE", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv(real_parts.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=reason):
        real_parts.node_sdk()

"""Runs ``lambda-wire local`` as its users do, and reads what it says."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 30.0
_READY = re.compile(r"http://(127\.0\.0\.1):(\d+)/")
#: What no run may ever say, whatever else went wrong in it.
_NEVER_SAID = ("asyncio", "ResourceWarning", "never retrieved", "never awaited", "lambda_wire/local/")
#: asyncio's debug mode says so of a round of its loop that took long, as on a busy machine.
_SLOW = "Executing <"


class RunningLocal:
    """A running ``lambda-wire local``.

    Attributes:
        process: The command.
        port: Where callers are served.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = _READY.search(self.wait_for("curl -N"))
        assert ready is not None
        self.port = int(ready[2])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    @property
    def output(self) -> str:
        """Everything that was said so far, by it and by the runtimes that it started."""
        with self._said:
            return "".join(self._lines)

    def wait_for(self, text: str) -> str:
        """Return the first line that holds ``text``, as soon as it was said."""

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._said:
            if not self._said.wait_for(lambda: found() or self._ended, PATIENCE_S):
                raise TimeoutError(f"{text!r} was not said, but:\n{''.join(self._lines)}")
            line = found()
        assert line is not None, f"it ended without saying {text!r}:\n{self.output}"
        return line

    def connection(self) -> http.client.HTTPConnection:
        """Return a caller's connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Make one request on a connection of its own."""
        connection = self.connection()
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def invoke(
        self, payload: bytes = b"{}", headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Invoke the function."""
        return self.request("POST", "/2015-03-31/functions/function/invocations", payload, headers)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Interrupt it; return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


@contextmanager
def running_local(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[RunningLocal]:
    """Run ``lambda-wire local`` on a free port, with warnings as errors; it must end cleanly, whatever it served.

    As the installed command, it does not look for its own modules in the working directory.
    """
    ours = ("AWS_", "_", "PYTHONUNBUFFERED")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    paths = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-X", "dev", "-W", "error", "-m", "lambda_wire", "local", "--port", "0", *options]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": paths, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        running = RunningLocal(process)
        yield running
        if process.poll() is None:
            assert running.stop() == 0, running.output
        for line in running.output.splitlines():
            assert line.startswith(_SLOW) or not any(said in line for said in _NEVER_SAID), running.output
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def is_alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
            not in "ZX"
        )
    except OSError:
        return False

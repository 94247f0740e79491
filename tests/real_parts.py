"""The real parts that our ends are tested against: AWS's emulator, and the clients that AWS ships.

The emulator is taken out of the wheel of ``aws-sam-cli`` (nothing of it is installed), the SDK for Node.js comes from
npm; both are kept in ``.real-parts/`` beside ``pyproject.toml``. A part that cannot be had skips the test with the
reason; where the environment says ``LAMBDA_WIRE_REQUIRE_REAL_PARTS=1`` it fails the test instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NoReturn

import pytest

from tests import managed_room

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".real-parts"
REQUIRED: Final = "LAMBDA_WIRE_REQUIRE_REAL_PARTS"

_PACKAGE: Final = "aws-sam-cli"
_VERSION: Final = "1.170.0"
_NODE_PACKAGE: Final = "@aws-sdk/client-lambda"
_NODE_VERSION: Final = "3.1162.0"
_OLDEST_NODE: Final = 20  # what that version of the package asks for
_DOWNLOAD_TIMEOUT_S: Final = 100  # below pytest's own limit, so that the reason is told
#: ``platform.machine()`` -> the emulator's name for it, and the SHA-256 of the file in that version's wheel.
_BUILDS: Final = {
    "x86_64": ("x86_64", "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5"),
    "aarch64": ("arm64", "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21"),
}
#: Where the emulator takes invocations. Source: cmd/aws-lambda-rie/handlers.go of the emulator.
_INVOKE_PATH: Final = "/2015-03-31/functions/function/invocations"
#: How long the emulator and its runtime may take to come up, and a killed process to be gone.
_STARTUP_S: Final = 20.0
_DEATH_S: Final = 10.0


def missing(reason: str) -> NoReturn:
    """Skip the running test because a real part is missing, or fail it where real parts are required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{reason} ({REQUIRED} is set)", pytrace=False)
    pytest.skip(reason)


def need_module(name: str) -> None:
    """Say that the running test needs an installed module, such as ``awslambdaric`` or ``boto3``."""
    if importlib.util.find_spec(name) is None:
        missing(f"{name} is not installed (python -m pip install '.[test]')")


def node_sdk() -> Path:
    """Return a directory that holds AWS's SDK for Node.js in its ``node_modules``, fetched from npm if not here yet."""
    if shutil.which("node") is None:
        missing("there is no node on this machine")
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=_STARTUP_S)
    version = node.stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < _OLDEST_NODE:
        missing(f"{_NODE_PACKAGE} {_NODE_VERSION} needs Node.js {_OLDEST_NODE}, here is {version}")
    return _kept(f"client-lambda-{_NODE_VERSION}", _install)


def _install(part: Path) -> None:
    if shutil.which("npm") is None:
        missing(f"there is no npm on this machine to install {_NODE_PACKAGE} with")
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        fresh = Path(directory) / part.name
        fresh.mkdir()
        command = ["npm", "install", "--prefix", str(fresh), "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
        _download("npm", [*command, f"{_NODE_PACKAGE}@{_NODE_VERSION}"])
        fresh.replace(part)


def emulator() -> Path:
    """Return AWS's Runtime Interface Emulator, fetched from PyPI when it is not here yet."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _BUILDS:
        missing(f"{_PACKAGE} holds no emulator for {sys.platform} on {machine}")
    build, digest = _BUILDS[machine]
    member = f"samcli/local/rapid/aws-lambda-rie-{build}"
    return _kept(f"aws-lambda-rie-{_VERSION}-{build}", lambda part: _fetch(member, digest, part))


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """Return a part of the cache; ``fetch`` puts it there, once, however many processes ask for it."""
    part = CACHE / name
    if not part.exists():
        CACHE.mkdir(exist_ok=True)
        with (CACHE / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not part.exists():
                fetch(part)
    return part


def _fetch(member: str, digest: str, part: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        _download("pip", [*pip, "--dest", directory, f"{_PACKAGE}=={_VERSION}"])
        wheel = next(Path(directory).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(member)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise ValueError(f"{member} of {wheel.name} has SHA-256 {found}, expected {digest}")
        fresh = Path(directory) / part.name
        fresh.write_bytes(content)
        fresh.chmod(0o755)
        fresh.replace(part)


def _download(tool: str, command: Sequence[str]) -> None:
    """Run a package manager's command, whose last word is the package; say that the part is missing if it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_DOWNLOAD_TIMEOUT_S,
            # npm knows the authorities that Node was built with, and nothing of those that this machine has added.
            env={"NODE_EXTRA_CA_CERTS": ssl.get_default_verify_paths().cafile or "", **os.environ},
        )
    except subprocess.TimeoutExpired:
        missing(f"{tool} took more than {_DOWNLOAD_TIMEOUT_S} s to download {command[-1]}")
    if done.returncode != 0:
        missing(f"{tool} could not download {command[-1]}: {done.stderr.strip()[-500:]}")


class Emulator:
    """A running emulator.

    Attributes:
        process: The emulator itself; ``process.pid`` is its process id and its session id.
        base_url: Where callers invoke, ``http://127.0.0.1:PORT``.
        runtime_api: Where its Runtime API listens, ``127.0.0.1:PORT``.
        timeout_s: The function timeout.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], log: IO[bytes], ports: tuple[int, int], timeout_s: int, managed: bool
    ) -> None:
        self.process = process
        self.base_url = f"http://127.0.0.1:{ports[0]}"
        self.runtime_api = f"127.0.0.1:{ports[1]}"
        self.timeout_s = timeout_s
        self._caller_port = ports[0]
        self._log = log
        self._managed = managed

    def invoke(
        self, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Invoke the function once and return status, headers (any case) and body of the answer.

        In managed-instances mode an invocation that finds no runtime waiting in ``/next`` is refused with 400
        ``Runtime.Unavailable``, and the caller may be answered before the runtime asks again; such an invocation
        reached nobody and is repeated until the slot is free.

        Raises:
            OSError, http.client.HTTPException: The emulator ended or gave no whole answer; its log is in the notes.
        """
        patience = time.monotonic() + _STARTUP_S
        try:
            while True:
                status, answered, body = self._invoke_once(payload, headers or {})
                unavailable = status == 400 and answered.get("Error-Type") == "Runtime.Unavailable"
                if not (self._managed and unavailable and time.monotonic() < patience):
                    return status, answered, body
                self._ended_within(0.005)
        except (OSError, http.client.HTTPException) as fault:
            fault.add_note(f"emulator status {self.process.poll()}, log:\n{self.log[-4000:]}")
            raise

    def _invoke_once(self, payload: bytes, headers: Mapping[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
        # A function that times out is first reset, so the answer comes later than the timeout.
        connection = http.client.HTTPConnection("127.0.0.1", self._caller_port, timeout=self.timeout_s + _STARTUP_S)
        try:
            connection.request("POST", _INVOKE_PATH, body=payload, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    @property
    def log(self) -> str:
        """What the emulator, and the runtime inside it, have written to stdout and stderr so far."""
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode("utf-8", "replace")

    @property
    def runtime_pid(self) -> int | None:
        """The process id of the runtime; None before it was started (the first invocation starts it) or after it died.

        Where the emulator starts a fresh runtime, this is the newest.
        """
        children = [pid for pid, parent, _ in _processes() if parent == self.process.pid]
        return max(children, default=None)

    def _ended_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_until_ready(self) -> bool:
        """Return whether the emulator accepts callers; False when it ended instead."""
        patience = time.monotonic() + _STARTUP_S
        while not self._ended_within(0.005):
            try:
                socket.create_connection(("127.0.0.1", self._caller_port), timeout=1).close()
            except OSError:
                if time.monotonic() > patience:
                    raise
            else:
                return True
        return False

    def kill(self) -> None:
        """Kill the emulator and every process it has left in its session; return when all are gone."""
        self.process.kill()
        self.process.wait(_DEATH_S)
        patience = time.monotonic() + _DEATH_S
        while left := [pid for pid, _, session in _processes() if session == self.process.pid]:
            if time.monotonic() > patience:
                raise TimeoutError(f"processes {left} of the emulator survive SIGKILL")
            for pid in left:
                _kill(pid)


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield process id, parent's and session's id of every living process. Source: proc_pid_stat(5)."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it ended while we looked
            continue
        state, parent, _, session = stat.rpartition(")")[2].split()[:4]
        if state not in "ZX":
            yield int(entry.name), int(parent), int(session)


def _kill(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], _DEATH_S)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _environment(timeout_s: int, env: Mapping[str, str] | None) -> dict[str, str]:
    """Our own environment without anything of Lambda's, the code under test on the path, and what the test adds."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "_"))}
    paths = [str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(paths), "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s)}
    return inherited | ours | dict(env or {})


@contextmanager
def _running(
    prefix: Sequence[str],
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    timeout_s: int,
    managed: bool,
) -> Generator[Emulator, None, None]:
    binary = str(emulator())
    ending = ""
    with tempfile.TemporaryFile() as log:
        for _ in range(3):  # another process may take a free port before the emulator does
            ports = _free_ports()
            options = ["--log-level", "info", "--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}"]
            options += ["--runtime-api-address", f"127.0.0.1:{ports[1]}"]
            process = subprocess.Popen(
                [*prefix, binary, *options, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
            running = Emulator(process, log, ports, timeout_s, managed)
            try:
                if running.wait_until_ready():
                    yield running
                    return
            finally:
                running.kill()
            if prefix and process.returncode == managed_room.NOT_PERMITTED:
                missing(running.log.strip())
            ending = f"the emulator ended with status {process.returncode} before it was ready:\n{running.log}"
            if "address already in use" not in running.log:
                break
    raise RuntimeError(ending)


@contextmanager
def running_emulator(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: int = 30, cwd: Path | None = None
) -> Generator[Emulator, None, None]:
    """Run the emulator around a runtime, and kill both afterwards whatever happens.

    Args:
        command: The runtime. Its last word becomes ``_HANDLER`` unless ``env`` says otherwise. It is started by the
            first invocation.
        env: Added to our own environment, from which everything of Lambda's was removed.
        timeout_s: The function timeout, in seconds.
        cwd: Where to run; the runtime inherits it.
    """
    with _running((), command, _environment(timeout_s, env), cwd, timeout_s, managed=False) as running:
        yield running


@contextmanager
def running_managed_emulator(
    bootstrap_script: str,
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: int = 30,
    slots: int = 1,
    files: Mapping[str, str] | None = None,
) -> Generator[Emulator, None, None]:
    """Run the emulator in managed-instances mode, and kill it and its runtime afterwards whatever happens.

    The runtime is started at once, in ``/var/task`` of a private mount namespace, as user 993 and group 990. It may
    read and write what we may. Skips where such a namespace is not permitted.

    Args:
        bootstrap_script: The text of ``/var/task/bootstrap`` with its ``#!`` line; ``sys.executable`` works there.
        env: As in ``running_emulator``; the emulator removes names that start with ``_``, save ``_HANDLER``.
        timeout_s: The function timeout, in seconds.
        slots: ``AWS_LAMBDA_MAX_CONCURRENCY``.
        files: More files under ``/var/task``: relative name -> text.
    """
    if os.geteuid() != 0:
        missing("managed-instances mode needs root for a private /var/task and the change of user")
    content = {**(files or {}), "bootstrap": bootstrap_script}
    prefix = [sys.executable, managed_room.__file__, json.dumps(content)]
    environment = _environment(timeout_s, env) | {"AWS_LAMBDA_MAX_CONCURRENCY": str(slots)}
    with _running(prefix, (), environment, None, timeout_s, managed=True) as running:
        yield running

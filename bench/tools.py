"""What the bench builds and runs beside Python: the server, the clients of other languages, the children."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.clients.job import Cost
from bench.results import Absent, Failed

__all__ = ["HERE", "ROOT", "Tools", "cost_of", "environment", "first_bytes", "python"]

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
_PATIENCE_S: Final = 120


class Tools:
    """Programs that are built once, when first asked for.

    Args:
        room: A directory for what is built.
    """

    def __init__(self, room: Path) -> None:
        self._room = room
        self._built: dict[str, Path | Absent] = {}

    def server(self) -> Path:
        """Return the Runtime API server.

        Raises:
            Absent: It cannot be built here.
        """
        return self._build("server", self._build_server)

    def go(self) -> Path:
        """Return the client in Go.

        Raises:
            Absent: It cannot be built here.
        """
        return self._build("go", lambda made: self._build_go(made, "."))

    def bare_go(self) -> Path:
        """Return a program in Go that writes a byte, and knows of nothing else.

        Raises:
            Absent: It cannot be built here.
        """
        return self._build("bare-go", lambda made: self._build_go(made, "./bare"))

    @staticmethod
    def program(name: str) -> str:
        """Return the path of a program.

        Raises:
            Absent: There is none on this machine.
        """
        path = shutil.which(name)
        if path is None:
            raise Absent(f"there is no {name} on this machine")
        return path

    def _build(self, name: str, build: Callable[[Path], Path]) -> Path:
        if name not in self._built:
            try:
                self._built[name] = build(self._room / name)
            except Absent as reason:
                self._built[name] = reason
        built = self._built[name]
        if isinstance(built, Absent):
            raise Absent(str(built))
        return built

    def _build_server(self, made: Path) -> Path:
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not compiler:
            raise Absent("the server of the bench is C, and there is no C compiler (cc) on this machine")
        command = [*compiler.split(), "-O2", "-pthread", "-o", str(made), str(HERE / "server.c")]
        _run_tool(command, HERE, "the server of the bench could not be compiled")
        return made

    def _build_go(self, made: Path, package: str) -> Path:
        command = [self.program("go"), "build", "-o", str(made), package]
        _run_tool(command, HERE / "clients" / "go", "aws-lambda-go could not be built")
        return made

    @contextmanager
    def serving(self, event_bytes: int, framing: str) -> Iterator[str]:
        """Run the server; give its address.

        Raises:
            Absent: It cannot be built here.
        """
        with subprocess.Popen(
            [self.server(), str(event_bytes), framing], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield f"127.0.0.1:{int(process.stdout.readline())}"
            finally:
                process.kill()


def _run_tool(command: Sequence[str], directory: Path, failure: str) -> None:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Absent(f"{failure} within {_PATIENCE_S} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        raise Absent(f"{failure}: {said[-1]}")


def environment(**more: str) -> dict[str, str]:
    """Return our environment for a child: this tree importable, nothing of Lambda's, and what is added."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "_", "PYTHON"))}
    return {**inherited, "PYTHONPATH": str(ROOT), **more}


def cost_of(command: Sequence[str], more: Mapping[str, str] | None = None) -> Cost:
    """Run a child to its end and return what it says of its cost.

    Raises:
        Failed: It did not do its work, or did not say what that cost.
    """
    name = f"{Path(command[0]).name} {' '.join(command[1:3])}"
    mine = environment(**(more or {}))
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=mine, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} took more than {_PATIENCE_S} s") from None
    said = done.stdout.strip().splitlines()
    if done.returncode or not said:
        raise Failed(f"{name}: {(done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]}")
    try:
        cost: Cost = json.loads(said[-1])
    except ValueError:
        raise Failed(f"{name} said {said[-1]!r} instead of what it cost") from None
    return cost


def first_bytes(address: str) -> list[float]:
    """Ask the server how long each first byte took, in seconds, since it was asked last."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/bench/first-bytes")
        return [int(line) / 1e9 for line in connection.getresponse().read().split()]
    finally:
        connection.close()


def python(*words: str) -> list[str]:
    """Return a command for the interpreter that runs this."""
    return [sys.executable, *words]

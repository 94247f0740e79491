"""Cold starts: fresh interpreters, from exec on, with what a bare interpreter takes for the same subtracted.

``import`` ends when the module is imported: the child then writes a byte. ``run`` ends when the first ``GET`` has
arrived at a listener of ours. Neither waits for the interpreter's end. Without cached bytecode, everything that is not
frozen into the interpreter is compiled, the standard library as well; for bare Python likewise. ``-S`` keeps away what
an environment for development loads into every interpreter, such as the finders of editable installs.
"""

from __future__ import annotations

import json
import os
import select
import socket
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench import columns
from bench.clients.job import Job
from bench.results import Absent
from bench.tools import HERE, Tools, environment, python
from bench.works import Work

__all__ = ["Starts"]

_PATIENCE_S: Final = 30.0
_HANDLER: Final = "def handler(event, context):\n    return event\n"

#: Column -> what is imported. The floor is what any client needs.
_MODULES: Final = {
    "floor": "socket",
    "ours": "lambda_wire",
    "asyncio": "lambda_wire.asyncio",
    "trio": "lambda_wire.trio",
    "awslambdaric": "awslambdaric.bootstrap",
    "h11": "h11",
    "http.client": "http.client",
    "httpx": "httpx",
}
_ASK: Final = "b'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n'"
_CONNECT: Final = (
    "import os, socket; host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':'); "
    "wire = socket.create_connection((host, int(port))); import app; "
)
_NATURAL: Final = (
    "import h11; connection = h11.Connection(h11.CLIENT); "
    "wire.sendall(connection.send(h11.Request(method='GET', target='/2018-06-01/runtime/invocation/next', "
    "headers=[('host', '127.0.0.1')]))); wire.recv(1)"
)


class Starts:
    """Fresh interpreters for one work.

    Args:
        work: Whose columns are started.
        launches: How many make one value, each beside a bare interpreter: the median of the differences.
        tools: Builds the client in Go.
    """

    def __init__(self, work: Work, launches: int, tools: Tools) -> None:
        self._work = work
        self._launches = launches
        self._tools = tools
        self._warm: set[str] = set()

    def __enter__(self) -> Self:
        self._kept = tempfile.TemporaryDirectory()
        self._room = Path(self._kept.name)
        (self._room / "app.py").write_text(_HANDLER, encoding="ascii")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()
        self._kept.cleanup()

    def sample(self, column: str) -> dict[str, float]:
        """Return how long a column takes beyond bare Python.

        Raises:
            Absent: It is not on this machine.
        """
        columns.require(column)
        launch = self._launch_of(column)
        if column not in self._warm:
            launch()  # fills the page cache, and the cache of bytecode where there is one
            self._warm.add(column)
        return {"wall": statistics.median(launch() - self._until_byte("pass") for _ in range(self._launches))}

    def _launch_of(self, column: str) -> Callable[[], float]:
        if self._work.job.work == "import":
            return lambda: self._until_byte(f"import {_MODULES[column]}")
        command = self._command(column)
        return lambda: self._until_get(command)

    def _command(self, column: str) -> list[str]:
        match column:
            case "ours":
                return python("-S", "-m", "lambda_wire", "run", "app.handler")
            case "awslambdaric":
                return python("-S", "-m", "awslambdaric", "app.handler")
            case "h11":
                return python("-S", "-c", _CONNECT + _NATURAL)
            case "node":
                return [self._tools.program("node"), str(HERE / "clients" / "node.mjs"), self._native_job()]
            case "go":
                return [str(self._tools.go()), self._native_job()]
            case _:
                return python("-S", "-c", f"{_CONNECT}wire.sendall({_ASK}); wire.recv(1)")

    def _native_job(self) -> str:
        if not self._work.cached:
            raise Absent("it has no bytecode to be cached")
        return json.dumps(asdict(Job(address=self._address)))

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _environment(self) -> dict[str, str]:
        cache = {} if self._work.cached else {"PYTHONPYCACHEPREFIX": str(self._room / "none")}
        dont = {} if self._work.cached else {"PYTHONDONTWRITEBYTECODE": "1"}
        mine = environment(AWS_LAMBDA_RUNTIME_API=self._address, LAMBDA_TASK_ROOT=str(self._room), **cache, **dont)
        packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        return {**mine, "PYTHONPATH": os.pathsep.join((str(self._room), mine["PYTHONPATH"], *packages))}

    def _until_byte(self, statement: str) -> float:
        """Return the seconds from exec until a statement was executed."""
        command = python("-S", "-c", f"{statement}\nimport os; os.write(1, b'.')")
        return self._timed(command, lambda child: child.stdout is not None and _readable(child.stdout.fileno()))

    def _until_get(self, command: Sequence[str]) -> float:
        """Return the seconds from exec until the first bytes of a request were here."""

        def arrived(_: subprocess.Popen[bytes]) -> bool:
            wire, _address = self._listener.accept()
            with wire:
                wire.settimeout(_PATIENCE_S)
                return wire.recv(4) == b"GET "

        return self._timed(command, arrived)

    def _timed(self, command: Sequence[str], reached: Callable[[subprocess.Popen[bytes]], bool]) -> float:
        mine = self._environment()
        start = time.perf_counter()
        with subprocess.Popen(
            command, cwd=self._room, env=mine, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            try:
                if not reached(child):
                    raise Absent("it ended before it got there")
                return time.perf_counter() - start
            except TimeoutError:
                raise Absent(f"it did not get there within {_PATIENCE_S:.0f} s") from None
            finally:
                child.kill()


def _readable(pipe: int) -> bool:
    """Wait for a byte; say whether it came."""
    return bool(select.select([pipe], [], [], _PATIENCE_S)[0]) and os.read(pipe, 1) == b"."

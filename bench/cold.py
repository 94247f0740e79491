"""Cold starts: fresh processes, from exec on, with what a bare one takes subtracted: one that only writes a byte.

Bare is Python for what is Python, ``node -e`` for node, and for Go a program that does nothing else.

``import`` ends when the package is imported, whatever that loads: ours is a door that loads each room when it is first
asked for. ``import-role`` ends when the library has made the bytes of one request, or, where it makes none without a
socket, has what it needs for it; the floor imports ``socket`` in both. The child then writes a byte. ``run`` ends when
the first ``GET`` has arrived at a listener of ours. None waits for the process's end. Without cached bytecode,
everything that is not frozen into the interpreter is compiled, the standard library as well; for bare Python likewise.
``-S`` keeps away what an environment for development loads into every interpreter, such as the finders of editable
installs.
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
from bench.results import Absent, Failed
from bench.tools import HERE, Tools, environment, python
from bench.works import Work

__all__ = ["Starts"]

_PATIENCE_S: Final = 30.0
_HANDLER: Final = "def handler(event, context):\n    return event\n"

#: Work -> column -> what is executed. The floor is what any client needs.
_STATEMENTS: Final = {
    "import": {
        "floor": "import socket",
        "ours": "import lambda_wire",
        "asyncio": "import lambda_wire.asyncio",
        "trio": "import lambda_wire.trio",
        "awslambdaric": "import awslambdaric.bootstrap",
        "h11": "import h11",
        "http.client": "import http.client",
        "httpx": "import httpx",
    },
    "import-role": {
        "floor": "import socket",
        "ours": "from lambda_wire import NextAsked, RuntimeConnection; RuntimeConnection(host='a').send(NextAsked())",
        "awslambdaric": (
            "from awslambdaric.lambda_runtime_client import LambdaRuntimeClient; LambdaRuntimeClient('127.0.0.1:1')"
        ),
        "h11": (
            "import h11; h11.Connection(h11.CLIENT)"
            ".send(h11.Request(method='GET', target='/2018-06-01/runtime/invocation/next', headers=[('host', 'a')]))"
        ),
        "http.client": (
            "import http.client; http.client.HTTPConnection('a')"
            ".putrequest('GET', '/2018-06-01/runtime/invocation/next')"
        ),
        "httpx": "import httpx; httpx.Request('GET', 'http://a/2018-06-01/runtime/invocation/next')",
    },
}
_BYTE_IN_NODE: Final = "require('fs').writeSync(1, '.')"
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
    """Fresh processes for one work.

    Args:
        work: Whose columns are started.
        launches: How many make one value, each beside a bare one: the median of the differences.
        tools: Builds the programs in Go.
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
        """Return how long a column takes beyond a bare process.

        Raises:
            Absent: It is not on this machine.
            Failed: It did not get there.
        """
        columns.require(column)
        launch, bare = self._launch_of(column), self._bare(column)
        if column not in self._warm:
            launch()  # fills the page cache, and the cache of bytecode where there is one
            self._until_byte(bare)
            self._warm.add(column)
        return {"wall": statistics.median(launch() - self._until_byte(bare) for _ in range(self._launches))}

    def _launch_of(self, column: str) -> Callable[[], float]:
        if self._work.job.work in _STATEMENTS:
            executed = _executed(_STATEMENTS[self._work.job.work][column])
            return lambda: self._until_byte(executed)
        command = self._command(column)
        return lambda: self._until_get(command)

    def _bare(self, column: str) -> list[str]:
        if column == "node":
            return [self._tools.program("node"), "-e", _BYTE_IN_NODE]
        return [str(self._tools.bare_go())] if column == "go" else _executed("pass")

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

    def _until_byte(self, command: Sequence[str]) -> float:
        """Return the seconds from exec until a byte was written."""
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
                    raise Failed("it ended before it got there")
                return time.perf_counter() - start
            except TimeoutError:
                raise Failed(f"it did not get there within {_PATIENCE_S:.0f} s") from None
            finally:
                child.kill()


def _executed(statement: str) -> list[str]:
    """Return a command that executes a statement, and writes a byte."""
    return python("-S", "-c", f"{statement}\nimport os; os.write(1, b'.')")


def _readable(pipe: int) -> bool:
    """Wait for a byte; say whether it came."""
    return bool(select.select([pipe], [], [], _PATIENCE_S)[0]) and os.read(pipe, 1) == b"."

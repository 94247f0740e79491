"""An embedded Lambda between a caller and a runtime that are both the test."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import queue
import socket
import threading
from collections.abc import Callable
from typing import Self

from lambda_wire.local.report import Report
from lambda_wire.local.server import EmbeddedLambda
from lambda_wire.local.threads import LoopThread

PATIENCE_S = 30.0
PREFIX = "/2018-06-01/runtime"


class Idle:
    """A worker that never ends: the test does its work."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def ended(self) -> asyncio.Future[str]:
        return self._ended

    def drain(self) -> None: ...

    async def stop(self) -> None: ...

    async def kill(self) -> None:
        if not self._ended.done():
            self._ended.set_result("Runtime exited with error: signal: killed")


class Bench:
    """An embedded Lambda between a caller and a runtime that are both the test."""

    def __init__(self, *, timeout_s: float = 30.0, environments: int = 1, concurrency: int = 1) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._addresses: queue.Queue[str] = queue.Queue()
        self._worker: Idle | None = None
        self._hear: Callable[[bytes], None] | None = None
        self._loop = LoopThread()
        self._callers = concurrent.futures.ThreadPoolExecutor(16)
        self._embedded = self._loop.wait(self._start(timeout_s, environments, concurrency))

    async def _start(self, timeout_s: float, environments: int, concurrency: int) -> EmbeddedLambda:
        async def launch(address: str, hear: Callable[[bytes], None]) -> Idle:
            self._addresses.put(address)
            self._worker, self._hear = Idle(), hear
            return self._worker

        embedded = EmbeddedLambda(
            launch,
            timeout_s=timeout_s,
            report=Report(self._say),
            environments=environments,
            concurrency=concurrency,
        )
        await embedded.start()
        return embedded

    @property
    def port(self) -> int:
        """Where callers are served."""
        return self._embedded.port

    def _say(self, line: str) -> None:
        with self._said:
            self.lines.append(line)
            self._said.notify_all()

    def wait_for(self, word: str, count: int) -> None:
        """Wait until this many lines that begin with ``word`` were said."""
        with self._said:
            assert self._said.wait_for(lambda: sum(line.startswith(word) for line in self.lines) >= count, PATIENCE_S)

    def close(self) -> None:
        self._loop.wait(self._embedded.stop())
        self._loop.stop()
        self._callers.shutdown()

    def call(
        self, payload: str = "{}", *, request_id: str = "it", tail: bool = False
    ) -> concurrent.futures.Future[tuple[http.client.HTTPMessage, bytes]]:
        """Invoke, and go on while it waits."""
        return self._callers.submit(self._call, payload, request_id, tail)

    def _call(self, payload: str, request_id: str, tail: bool) -> tuple[http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            path = "/2015-03-31/functions/function/invocations"
            headers = {"X-Amzn-RequestId": request_id, "X-Amz-Log-Type": "Tail" if tail else "None"}
            connection.request("POST", path, body=payload, headers=headers)
            answer = connection.getresponse()
            return answer.headers, answer.read()
        finally:
            connection.close()

    def write(self, data: bytes) -> None:
        """Have the runtime that was started last write."""

        async def hear() -> None:
            assert self._hear is not None
            self._hear(data)

        self._loop.wait(hear())

    def end_runtime(self) -> None:
        """Have the runtime that was started last die."""
        assert self._worker is not None
        self._loop.wait(self._worker.kill())

    def address(self) -> str:
        """Return where the environment that is being started has its Runtime API."""
        return self._addresses.get(timeout=PATIENCE_S)


class Wire:
    """A runtime's connection, raw.

    Attributes:
        head: Of the last answer.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, text: str | bytes) -> None:
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def poll(self) -> None:
        self.send(f"GET {PREFIX}/invocation/next HTTP/1.1\r\nHost: h\r\n\r\n")

    def answer(self) -> tuple[int, bytes]:
        """Read one counted answer."""
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.socket.recv(1)
        length = int(self.head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(self.head[9:12]), self.socket.recv(length, socket.MSG_WAITALL) if length else b""

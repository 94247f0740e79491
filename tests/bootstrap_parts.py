"""What the tests of the bootstrap share: a runtime that records, a scripted Runtime API, and a handler's process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeAlias

from lambda_wire import (
    NEED_DATA,
    Accepted,
    Ask,
    BufferedResponse,
    ConnectionClosed,
    ConnectionLost,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    ServiceConnection,
)
from lambda_wire import _names as names
from lambda_wire._types import BytesLike
from lambda_wire.bootstrap import Handler, serve_handler
from lambda_wire.sync import ResponseStream, Runtime

ROOT = Path(__file__).resolve().parent.parent
Said: TypeAlias = BufferedResponse | ErrorReported | ResponseStarted | ResponseChunk | ResponseFinished | ResponseFailed


def invocation(event: object = None, **fields: Any) -> Invocation:
    """Return an invocation with that event, as JSON."""
    return Invocation(**({"request_id": "id-1", "payload": json.dumps(event).encode()} | fields))


class RecordingRuntime(Runtime):
    """Hands out invocations and records what is said, as the events that the service would receive.

    Args:
        invocations: What ``next_invocation`` gives; after them the connection is lost.
        ends: What becomes of everything that ends an answer: a verdict, or what is raised.
        parts: What is raised by every part of a stream from the given number on (0 is the head).
    """

    def __init__(
        self,
        *invocations: Invocation,
        ends: Accepted | Refused | Exception | None = None,
        parts: tuple[int, Exception] | None = None,
    ) -> None:
        self.waiting = list(invocations)
        self.said: list[Said] = []
        self.writes: list[int] = []
        self._ends = Accepted() if ends is None else ends
        self._parts = parts

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        if timeout is not None:
            raise TimeoutError
        if not self.waiting:
            raise ConnectionLost("gone")
        return self.waiting.pop(0)

    def respond(
        self, invocation: Invocation, payload: BytesLike, *, content_type: str = names.JSON
    ) -> Accepted | Refused:
        return self.end(
            BufferedResponse(request_id=invocation.request_id, payload=bytes(payload), content_type=content_type)
        )

    def report_error(
        self, invocation: Invocation, *, error_type: str, payload: BytesLike, xray_cause: str = ""
    ) -> Accepted | Refused:
        return self.end(
            ErrorReported(
                request_id=invocation.request_id, error_type=error_type, payload=bytes(payload), xray_cause=xray_cause
            )
        )

    def stream(
        self, invocation: Invocation, *chunks: BytesLike, content_type: str = names.OCTET_STREAM
    ) -> ResponseStream:
        self.part(ResponseStarted(request_id=invocation.request_id, content_type=content_type), *chunks)
        return _RecordingStream(self)

    def part(self, *said: Said | BytesLike) -> None:
        if self._parts is not None and len(self.writes) >= self._parts[0]:
            raise self._parts[1]
        self.writes.append(len(said))
        self.said += [ResponseChunk(data=bytes(it)) if isinstance(it, BytesLike) else it for it in said]

    def end(self, said: Said) -> Accepted | Refused:
        self.said.append(said)
        if isinstance(self._ends, Exception):
            raise self._ends
        return self._ends

    @property
    def body(self) -> list[bytes]:
        """The chunks of the stream."""
        return [it.data for it in self.said if isinstance(it, ResponseChunk)]

    @property
    def kinds(self) -> list[str]:
        """What was said, in one word each."""
        return [type(it).__name__ for it in self.said]

    @property
    def error(self) -> dict[str, Any]:
        """The document of the one error that was reported."""
        (document,) = [
            it.payload if isinstance(it, ErrorReported) else it.error_body
            for it in self.said
            if isinstance(it, (ErrorReported, ResponseFailed))
        ]
        parsed: dict[str, Any] = json.loads(document)
        return parsed


class _RecordingStream(ResponseStream):
    def __init__(self, runtime: RecordingRuntime) -> None:
        self._runtime = runtime

    def write(self, *chunks: BytesLike) -> None:
        self._runtime.part(*chunks)

    def finish(self) -> Accepted | Refused:
        return self._runtime.end(ResponseFinished())

    def fail(self, *, error_type: str, error_body: BytesLike) -> Accepted | Refused:
        return self._runtime.end(ResponseFailed(error_type=error_type, error_body=bytes(error_body)))


def served(handler: Handler, *invocations: Invocation, **faults: Any) -> RecordingRuntime:
    """Let ``handler`` serve the invocations, or one with the event ``null``; return what was said."""
    runtime = RecordingRuntime(*(invocations or (invocation(),)), **faults)
    serve_handler(handler, runtime)
    return runtime


class ScriptedService:
    """A Runtime API that hands out invocations, accepts every answer, and records what it is told.

    After the last invocation a poll stays open; with ``verdict`` the first poll is answered with that; with ``answer``
    every report.
    """

    def __init__(
        self, *invocations: Invocation, verdict: Refused | None = None, answer: Accepted | Refused | None = None
    ) -> None:
        self.waiting = list(invocations)
        self.asked: list[Ask] = []
        self.connections = 0
        self.idle = threading.Event()
        self._verdict = verdict
        self._answer = Accepted() if answer is None else answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with made:
                self._converse(made)

    def _converse(self, wire: socket.socket) -> None:
        connection = ServiceConnection()
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                connection.receive_data(wire.recv(65_536))
            elif isinstance(event, ConnectionClosed):
                return
            else:
                assert isinstance(event, Ask), event
                self.asked.append(event)
                if isinstance(event, NextAsked):
                    self._answer_poll(wire, connection.send)
                elif not isinstance(event, (ResponseStarted, ResponseChunk)):
                    wire.sendall(connection.send(self._answer))

    def _answer_poll(self, wire: socket.socket, send: Callable[[Invocation | Refused], bytes]) -> None:
        if self._verdict is not None:
            wire.sendall(send(self._verdict))
        elif self.waiting:
            wire.sendall(send(self.waiting.pop(0)))
        else:
            self.idle.set()

    def error(self) -> dict[str, Any]:
        """Return the document of the one error that was reported, and its type as the header has it."""
        (report,) = [it for it in self.asked if isinstance(it, (ErrorReported, InitErrorReported))]
        document: dict[str, Any] = json.loads(report.payload)
        return document | {"header": report.error_type}


def environment(**ours: str) -> dict[str, str]:
    """Return our own environment without anything of Lambda's, with the code under test on the path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "_", "LAMBDA_"))}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | ours


@contextmanager
def running(
    service: ScriptedService, source: str, directory: Path, *, handler: str = "app.handler"
) -> Generator[subprocess.Popen[str], None, None]:
    """Run ``lambda-wire run`` for a handler with that source; kill it afterwards whatever happens."""
    (directory / "app.py").write_text(source, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "lambda_wire", "run", handler],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(AWS_LAMBDA_RUNTIME_API=service.address),
        cwd=directory,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)

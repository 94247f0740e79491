"""A Runtime API with SnapStart, for what no emulator shows: it restores, refuses, or goes away."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any, Self

from lambda_wire import (
    NEED_DATA,
    Accepted,
    Ask,
    ConnectionClosed,
    InitErrorReported,
    NextAsked,
    Refused,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
    ServiceConnection,
    Violation,
)
from lambda_wire._lifecycle import StandardLifecycle
from tests.bootstrap_parts import invocation


class SnapshotService:
    """A Runtime API that snapshots, over any number of connections.

    Args:
        restored: What it answers to a poll for the restored environment: ``None`` closes the connection.
        snap_start: Whether it has heard of snapshots at all.
        report: What it answers to a report: ``None`` closes the connection.
    """

    def __init__(
        self,
        *,
        restored: RestoreReady | Refused | None = None,
        snap_start: bool = True,
        report: Accepted | Refused | None = None,
    ) -> None:
        self.asked: list[Ask] = []
        self.faults: list[BaseException] = []
        self.gone = False
        self._restored = restored
        self._report = report
        self._lifecycle = StandardLifecycle(snap_start=snap_start)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._wires: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(20)
        for wire in self._wires:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        assert self.faults == []

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                self._wires.append(made)
                self._threads.append(threading.Thread(target=self._converse, args=(made,)))
                self._threads[-1].start()

    def _converse(self, wire: socket.socket) -> None:
        try:
            with wire:
                self._answer_all(wire, ServiceConnection(self._lifecycle))
        except OSError:
            return  # the runtime is gone
        except BaseException as fault:  # noqa: BLE001  # fails the test
            self.faults.append(fault)

    def _answer_all(self, wire: socket.socket, connection: ServiceConnection) -> None:
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                connection.receive_data(wire.recv(65_536))
            elif isinstance(event, ConnectionClosed):
                return
            elif isinstance(event, Violation):
                wire.sendall(connection.send(event.reply))
            else:
                assert isinstance(event, Ask), event
                self.asked.append(event)
                answer = self._answer(event)
                if answer is None:
                    connection.abandon()
                    return
                wire.sendall(connection.send(answer))

    def _answer(self, event: Ask) -> Any:
        if isinstance(event, RestoreAsked):
            return self._restored
        return invocation() if isinstance(event, NextAsked) else self._report

    @property
    def kinds(self) -> list[str]:
        """What was asked and allowed, in one word each."""
        return [type(event).__name__ for event in self.asked]

    def report(self) -> tuple[str, dict[str, Any]]:
        """Return the type and the document of the one error that was reported."""
        (event,) = [it for it in self.asked if isinstance(it, (InitErrorReported, RestoreErrorReported))]
        return event.error_type, json.loads(event.payload)

"""Both ends of one connection, without a network between them."""

from __future__ import annotations

from collections.abc import Iterator

from lambda_wire._events import Answer, Ask
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._runtime import RuntimeConnection, RuntimeEvent
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import Signal

__all__ = ["ConnectedPair", "connected_pair"]


class ConnectedPair:
    """Both ends of one Runtime API connection, which share nothing but bytes.

    Attributes:
        runtime: The runtime's end.
        service: The service's end.
    """

    def __init__(self, runtime: RuntimeConnection, service: ServiceConnection, piece_size: int) -> None:
        self.runtime = runtime
        self.service = service
        self._piece_size = piece_size

    def runtime_says(self, *events: Ask) -> list[ServiceEvent]:
        """Send events from the runtime's end; return what the service's end learns.

        Raises:
            LocalProtocolError: The runtime may not say this now.
            RemoteProtocolError: The service finds that it may not.
        """
        heard: list[ServiceEvent] = []
        for event in events:
            for piece in self._cut(self.runtime.send(event)):
                self.service.receive_data(piece)
                while not isinstance(learned := self.service.next_event(), Signal):
                    heard.append(learned)
        return heard

    def service_says(self, *answers: Answer) -> list[RuntimeEvent]:
        """Send answers from the service's end; return what the runtime's end learns.

        Raises:
            LocalProtocolError: The service may not say this now.
            RemoteProtocolError: The runtime finds that it may not.
        """
        heard: list[RuntimeEvent] = []
        for answer in answers:
            for piece in self._cut(self.service.send(answer)):
                self.runtime.receive_data(piece)
                while not isinstance(learned := self.runtime.next_event(), Signal):
                    heard.append(learned)
        return heard

    def _cut(self, data: bytes) -> Iterator[bytes]:
        size = self._piece_size or max(1, len(data))
        return (data[start : start + size] for start in range(0, len(data), size))


def connected_pair(*, piece_size: int = 0) -> ConnectedPair:
    """Return both ends of a new connection, each with a lifecycle of its own.

    Args:
        piece_size: How many bytes are delivered at a time; 0 delivers all that was sent.
    """
    runtime = RuntimeConnection(host="127.0.0.1:9001", lifecycle=StandardLifecycle())
    return ConnectedPair(runtime, ServiceConnection(StandardLifecycle()), piece_size)

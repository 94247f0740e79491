"""What every conversation does with its connection: get one, say something on it, hear the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from lambda_wire._errors import ConnectionLost
from lambda_wire._signals import Signal
from lambda_wire._types import BytesLike
from lambda_wire._wants import Dial, Exchange, Hangup, Outgoing, Read, Write

__all__ = ["ClientConnection", "Session"]


class ClientConnection(Protocol):
    """What a session needs of a role that asks."""

    @property
    def must_close(self) -> bool:
        """Whether it can carry no further request."""
        ...

    @property
    def awaiting_answer(self) -> bool:
        """Whether a request went out whole and its answer is due."""
        ...

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the service."""

    def send_failed(self) -> None:
        """Say that a request was not written whole."""

    def abandon(self) -> None:
        """Give the connection up."""


_C = TypeVar("_C", bound=ClientConnection)
_E = TypeVar("_E")


class Session(Generic[_C, _E]):
    """One peer of the service, across the connections that it uses one after the other.

    Args:
        what: What it is, in messages.
        new_connection: Makes the role for a connection that is about to be dialled.
        next_event: Of that role.

    Attributes:
        connection: The one in use.
        connected: Whether it was dialled.
        closed: Whether every conversation raises ``ConnectionLost`` and none dials. Whoever sets it also ends the
            connection, so that a driver that waits answers as if the peer had ended.
    """

    def __init__(self, what: str, new_connection: Callable[[], _C], next_event: Callable[[_C], _E | Signal]) -> None:
        self._what = what
        self._new_connection = new_connection
        self._next_event = next_event
        self.connection: _C = new_connection()
        self.connected: bool = False
        self.closed: bool = False

    def require_open(self) -> None:
        """Raise ``ConnectionLost`` when ``closed`` was set."""
        if self.closed:
            raise ConnectionLost(f"this {self._what} was closed")

    def connect(self) -> Exchange[None]:
        """See to it that ``connection`` can carry a request: the one that is there, or a new one.

        Raises:
            ConnectionLost: The service cannot be reached. Nothing was sent.
        """
        self.require_open()
        if self.connected and not self.connection.must_close and not self.connection.awaiting_answer:
            with suppress(ConnectionLost):
                if not (yield Write(outgoing=Outgoing(), look_first=True)):
                    return
        self.connection.abandon()
        self.connected = False
        for want in (Hangup(), Dial()):
            yield want
            self.require_open()
        self.connection = self._new_connection()
        self.connected = True

    def say(self, buffers: Sequence[BytesLike], *, look_first: bool) -> Exchange[_E | None]:
        """Write it all; or return what the service answered, or that it has gone, before all was written.

        Raises:
            RemoteProtocolError: The service said what it may not.
        """
        connection, outgoing = self.connection, Outgoing(buffers)
        try:
            while heard := (yield Write(outgoing=outgoing, look_first=look_first)):
                connection.receive_data(heard)
                event = self._next_event(connection)
                if not isinstance(event, Signal):
                    connection.send_failed()
                    return event
                if connection.must_close:  # an answer has begun that ends the connection
                    break
            else:
                return None
        except ConnectionLost:
            pass
        except BaseException:
            connection.send_failed()
            raise
        connection.send_failed()
        return (yield from self.hear())

    def hear(self) -> Exchange[_E]:
        """Read until the service has said something, or gone.

        Raises:
            ConnectionLost: ``closed`` was set.
            RemoteProtocolError: The service said what it may not.
        """
        while True:
            self.require_open()
            event = self._next_event(self.connection)
            if not isinstance(event, Signal):
                return event
            try:
                self.connection.receive_data((yield Read()))
            except ConnectionLost:
                self.connection.abandon()  # its end, and no end of what was being said

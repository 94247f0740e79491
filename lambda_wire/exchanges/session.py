"""What every conversation does with its connection: get one, say something on it, hear the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from lambda_wire._errors import ConnectionLost
from lambda_wire._signals import Signal
from lambda_wire._turns import ClientRole
from lambda_wire._types import BytesLike
from lambda_wire._wants import Dial, Exchange, Hangup, Read, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Generic, Never, TypeVar
else:
    from lambda_wire._typing import Generic, TypeVar

__all__ = ["LOOK", "Session"]


_LONG_AGO: Final = 3600.0
LOOK: Final = Write(look_first=True)
_READ: Final = Read()
_NOTHING: Final = Signal.NEED_DATA
#: Covariant: whatever its role, a session is one of a ``ClientRole``, which is all that hearing and saying need.
_C = TypeVar("_C", bound="ClientRole[Never, object]", covariant=True)
_E = TypeVar("_E")


class Session(Generic[_C]):
    """One peer of the service, across the connections that it uses one after the other.

    Args:
        what: What it is, in messages.
        new_connection: Makes the role for a connection that is about to be dialled.

    Attributes:
        connection: The one in use.
        connected: Whether it was dialled.
        kept: Whether it was looked at before it was used again, and was alive: the service keeps connections.
        quiet_s: How many seconds ago the driver last read or looked: it says so before each conversation.
        fresh_s: How soon after that another look is not worth its system call.
        lingers: Whether the last connection was given up, and is still to be read to its end.
        closed: Whether every conversation raises ``ConnectionLost`` and none dials. Whoever sets it also ends the
            connection, so that a driver that waits answers as if the peer had ended.
    """

    def __init__(self, what: str, new_connection: Callable[[], _C]) -> None:
        self._what = what
        self._new_connection = new_connection
        self.connection: _C = new_connection()
        self.connected: bool = False
        self.kept: bool = False
        self.lingers: bool = False
        self.closed: bool = False
        self.quiet_s: float = _LONG_AGO
        self.fresh_s: float = 0.0

    def require_open(self) -> None:
        """Raise ``ConnectionLost`` when ``closed`` was set."""
        if self.closed:
            raise ConnectionLost(f"this {self._what} was closed")

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it: it cannot be relied on."""
        self.connection.abandon()
        self.connected = self.kept = False

    @property
    def ready(self) -> bool:
        """Whether ``connection`` can carry a request now, and that need not be looked at.

        The first time it must, however fresh: some services close after each answer and do not say so, and what is
        posted after that is lost.
        """
        return self.kept and self.quiet_s < self.fresh_s and self.connection.idle and not self.closed

    def _keep(self) -> Exchange[bool]:
        """Say whether ``connection`` can carry a request. One that cannot is given up and hung up, if it may be."""
        self.require_open()
        if self.connected and self.connection.idle:
            with suppress(ConnectionLost):
                if not (yield LOOK):
                    self.kept = True
                    return True
        self.abandon()
        if not self.lingers:
            yield Hangup()
        self.require_open()
        return False

    def _linger(self) -> Exchange[None]:
        """Wait until the service has read what has come on a connection that was given up, and has ended it.

        Whoever was to hear what it says has gone.
        """
        yield Hangup(half=True)
        with suppress(ConnectionLost):
            while (yield _READ):
                pass
        self.lingers = False
        yield Hangup()
        self.require_open()

    def _dial(self) -> Exchange[None]:
        if self.lingers:
            yield from self._linger()
        yield Dial()
        self.require_open()
        self.connection = self._new_connection()
        self.connected = True

    def ask(self: Session[ClientRole[Never, _E]], buffers: Sequence[BytesLike]) -> Exchange[_E]:
        """Write a request, or the end of one, and return its answer, or what came instead.

        Raises:
            ConnectionLost: ``closed`` was set.
            RemoteProtocolError: The service said what it may not.
        """
        answer = yield from self.say(buffers, look_first=False)
        return (yield from self.hear(read_first=True)) if answer is None else answer

    def say(
        self: Session[ClientRole[Never, _E]], buffers: Sequence[BytesLike], *, look_first: bool
    ) -> Exchange[_E | None]:
        """Write it all; or return what the service answered, or that it has gone, before all was written.

        Raises:
            RemoteProtocolError: The service said what it may not.
        """
        connection = self.connection
        write = Write(buffers, look_first=look_first and self.quiet_s >= self.fresh_s)
        try:
            while heard := (yield write):
                connection.receive_data(heard)
                event = connection.next_event()
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

    def hear(self: Session[ClientRole[Never, _E]], *, read_first: bool = False) -> Exchange[_E]:
        """Read until the service has said something, or gone.

        Args:
            read_first: Whether nothing can have come yet that was not looked at.

        Raises:
            ConnectionLost: ``closed`` was set.
            RemoteProtocolError: The service said what it may not.
        """
        connection = self.connection
        while True:
            self.require_open()
            event = _NOTHING if read_first else connection.next_event()
            if not isinstance(event, Signal):
                return event
            into = None if read_first else connection.receive_buffer
            try:
                connection.receive_data((yield _READ if into is None else Read(into=into)))
            except ConnectionLost:
                connection.abandon()  # its end, and no end of what was being said
            read_first = False

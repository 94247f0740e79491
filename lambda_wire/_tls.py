"""TLS on sockets that never block: a record that is there need not hold data (RFC 8446, 4.6), so only waits may.

``ssl`` is imported when TLS is spoken, not before: it costs more than all the rest of a cold start.
"""

from __future__ import annotations

import contextlib
import socket

from lambda_wire._wants import Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Final


__all__ = ["context_for", "receive", "send", "shut"]

#: What one record holds (RFC 8446, 5.1).
_RECORD: Final = 16_384
#: How many buffers are looked at to fill one.
_MOST_BUFFERS: Final = 1024


def context_for(scheme: str, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Return how to speak TLS where a URL says ``https``: as given, else the standard library's default."""
    if scheme != "https" or given is not None:
        return given if scheme == "https" else None
    import ssl

    return ssl.create_default_context()


def receive(wire: socket.socket, max_bytes: int) -> bytes:
    """Return what is there; ``b""`` at the end.

    Raises:
        BlockingIOError: Nothing is there, or not a whole record.
    """
    try:
        return wire.recv(max_bytes)
    except _would_block() as fault:
        raise BlockingIOError from fault


def send(wire: socket.socket, want: Write) -> int:
    """Return how much of what is wanted was written, at most one record.

    Raises:
        BlockingIOError: Nothing could be written.
    """
    record = bytearray()
    for buffer in want.next_buffers(_MOST_BUFFERS):
        record += memoryview(buffer)[: _RECORD - len(record)]
    try:
        return wire.send(record)
    except _would_block() as fault:
        raise BlockingIOError from fault


def _would_block() -> tuple[type[OSError], ...]:
    import ssl

    return ssl.SSLWantReadError, ssl.SSLWantWriteError


def shut(wire: socket.socket, how: int) -> None:
    """Shut a socket down, but not what TLS holds of it: who uses it may still read what came before."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(wire, how)

"""Counts what a Python client asks of its sockets, where there is no strace. Waits of event loops are not counted."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

__all__ = ["counts", "install"]

_SENDS: Final = ("send", "sendall", "sendmsg", "sendto")
_RECEIVES: Final = ("recv", "recv_into", "recvmsg")

counts: Final = {"calls": 0.0, "sends": 0.0}


def install() -> None:
    """Have every socket that is made from now on counted."""
    socket.socket = type("CountedSocket", (socket.socket,), _methods())  # type: ignore[misc, assignment]  # the point


def _methods() -> dict[str, object]:
    sends = {name: _counted(getattr(socket.socket, name), is_send=True) for name in _SENDS}
    return sends | {name: _counted(getattr(socket.socket, name), is_send=False) for name in _RECEIVES}


def _counted(method: Callable[..., Any], *, is_send: bool) -> Callable[..., Any]:  # whatever the socket's method takes
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # likewise
        counts["calls"] += 1
        counts["sends"] += is_send
        return method(*arguments, **named)

    return call

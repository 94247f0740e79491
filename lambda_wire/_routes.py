"""The endpoints of the Runtime API, one row each, read by both ends.

The service routes as the emulator's router does: percent-encoding in a path is decoded only where it is what Go's
``net/url`` would have written itself; any other encoding is compared as it stands (observed: ids ``a%20b`` and
``a%2520b``).
"""

from __future__ import annotations

from typing import Final

from lambda_wire import _names as names
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._lifecycle import NOT_FOUND
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import record

__all__ = ["ROUTES", "Match", "Route", "match", "route_of", "target_of"]

_PARAMETER: Final = "{request_id}"


@record
class Route:
    """One endpoint: how it is asked, and with what it may answer."""

    method: str
    path: str
    asks: tuple[type, ...]
    answers: tuple[type, ...]


@record
class Match:
    """A request that found its endpoint."""

    route: Route
    request_id: str = ""


ROUTES: Final = (
    Route(method="GET", path=names.NEXT_PATH, asks=(NextAsked,), answers=(Invocation, Refused)),
    Route(
        method="POST", path=names.RESPONSE_PATH, asks=(BufferedResponse, ResponseStarted), answers=(Accepted, Refused)
    ),
    Route(method="POST", path=names.ERROR_PATH, asks=(ErrorReported,), answers=(Accepted, Refused)),
    Route(method="POST", path=names.INIT_ERROR_PATH, asks=(InitErrorReported,), answers=(Accepted, Refused)),
    Route(method="GET", path=names.RESTORE_NEXT_PATH, asks=(RestoreAsked,), answers=(RestoreReady, Refused)),
    Route(method="POST", path=names.RESTORE_ERROR_PATH, asks=(RestoreErrorReported,), answers=(Accepted, Refused)),
    Route(method="GET", path=names.PING_PATH, asks=(PingAsked,), answers=(Pong, Refused)),
)
_ROUTE_OF: Final = {ask: route for route in ROUTES for ask in route.asks}
_METHODS: Final = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}


def route_of(ask: type) -> Route:
    """Return the endpoint that an event of type ``ask`` goes to."""
    return _ROUTE_OF[ask]


def target_of(route: Route, request_id: str = "") -> str:
    """Return the request target for ``route``. The id is opaque: it is percent-encoded into its path segment."""
    return route.path.replace(_PARAMETER, _encode(request_id, _UNRESERVED)) if request_id else route.path


def match(method: str, target: str) -> Match | Refused:
    """Return the endpoint that a request line asks for, or the refusal that it gets: 404, or 405 with ``allow``.

    Raises:
        Malformed: The target has a percent sign that does not start an encoded byte.
    """
    path = _path(target)
    for route in ROUTES:
        request_id = _parameter(route.path, path)
        if request_id is None:
            continue
        if method == route.method:
            return Match(route=route, request_id=request_id)
        return Refused(status=405, allow=route.method if method in _METHODS else "")
    return NOT_FOUND


def _parameter(template: str, path: str) -> str | None:
    """Return the request id in ``path`` (empty where the template has none), or ``None`` where it does not match."""
    if _PARAMETER not in template:
        return "" if path == template else None
    before, after = template.split(_PARAMETER)
    if not (path.startswith(before) and path.endswith(after) and len(path) >= len(before) + len(after)):
        return None
    request_id = path[len(before) : len(path) - len(after)]
    return None if "/" in request_id else request_id


def _path(target: str) -> str:
    """Return the path to route on: without scheme, authority and query, decoded where Go's router decodes it."""
    if not target.startswith("/") and "://" in target:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    raw = target.partition("?")[0]
    decoded = _decode(raw)
    return decoded if _encode(decoded, _GO_PATH) == raw else raw


_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: What Go's net/url leaves as it is in a path (shouldEscape, encodePath).
_GO_PATH: Final = _UNRESERVED | frozenset(b"$&+,/:;=@")


def _encode(text: str, plain: frozenset[int]) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in data)


def _decode(text: str) -> str:
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    decoded = bytearray(first)
    for part in rest:
        digits = part[:2]
        if len(digits) < 2 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            raise Malformed(f"expected two hexadecimal digits after '%' in a request target, got {quote(digits)}")
        decoded.append(int(digits, 16))
        decoded += part[2:]
    return decoded.decode("utf-8", "surrogateescape")

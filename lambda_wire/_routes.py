"""The endpoints of the Runtime API, one row each, read by both ends.

The service routes as the emulator's router does: percent-encoding in a path is decoded only where it is what Go's
``net/url`` would have written itself; any other encoding is compared as it stands. So there is exactly one way to write
an id into a path, and none for an id with a slash (RT-PATH-5, RT-PATH-6).
"""

from __future__ import annotations

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
from lambda_wire._percents import LETTERS_AND_DIGITS, UNRESERVED, encode_percents, text_bytes
from lambda_wire._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

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
#: The methods that chi, the emulator's router, has heard of: any other is 405 before its path is looked at (observed).
_METHODS: Final = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}


def route_of(ask: type) -> Route:
    """Return the endpoint that an event of type ``ask`` goes to."""
    return _ROUTE_OF[ask]


def target_of(route: Route, request_id: str = "") -> str:
    """Return the request target for ``route``. The id is opaque: it is percent-encoded into its path segment.

    Raises:
        Malformed: The id holds a surrogate that stands for no byte.
    """
    return route.path.replace(_PARAMETER, encode_percents(request_id, _GO_SEGMENT))


def match(method: str, target: str) -> Match | Refused:
    """Return the endpoint that a request line asks for, or the refusal that it gets: 404, or 405 with ``allow``.

    Raises:
        Malformed: The target is no path and no URL, or has a percent sign that does not start an encoded byte.
    """
    path = _path(target)
    if method not in _METHODS:
        return Refused(status=405)
    for route in ROUTES:
        request_id = _parameter(route.path, path)
        if request_id is None:
            continue
        if method == route.method:
            return Match(route=route, request_id=request_id)
        return Refused(status=405, allow=route.method)
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
    raw = target.partition("?")[0]
    if not raw.startswith("/") and raw != "*":
        raw = _without_authority(raw)
    if "%" not in raw:
        return raw
    decoded = _decode(raw)
    return decoded if encode_percents(decoded, _GO_PATH) == raw else raw


def _without_authority(url: str) -> str:
    """Return the path of a target in absolute form, as Go's ``url.ParseRequestURI`` finds it."""
    scheme, colon, rest = url.partition(":")
    if not colon or not scheme[:1].isalpha() or not all(ord(letter) in _SCHEME for letter in scheme):
        reason = f"expected a request target that starts with '/' or is a URL, got {quote(url)}"
        raise Malformed(reason, rule="RT-PATH-4")
    return "/" + rest[2:].partition("/")[2] if rest.startswith("//") else rest


_SCHEME: Final = LETTERS_AND_DIGITS + b"+-."
#: What Go's net/url leaves as it is in a path (shouldEscape, encodePath), and in one segment of it.
_GO_PATH: Final = UNRESERVED + b"$&+,/:;=@"
_GO_SEGMENT: Final = _GO_PATH.replace(b"/", b"")


def _decode(text: str) -> str:
    first, *rest = text_bytes(text).split(b"%")
    decoded = bytearray(first)
    for part in rest:
        digits = part[:2]
        if len(digits) < 2 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            reason = f"expected two hexadecimal digits after '%' in a request target, got {quote(digits)}"
            raise Malformed(reason, rule="RT-PATH-5")
        decoded.append(int(digits, 16))
        decoded += part[2:]
    return decoded.decode("utf-8", "surrogateescape")

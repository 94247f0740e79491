"""Where a service is: ``host:port`` as ``AWS_LAMBDA_RUNTIME_API`` has it, and endpoint URLs as SDKs have them."""

from __future__ import annotations

from lambda_wire._malformed import Malformed, quote
from lambda_wire._percents import UNRESERVED
from lambda_wire._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["Endpoint", "parse_address", "parse_endpoint"]

_PORTS: Final = {"http": "80", "https": "443"}
_NAME: Final = frozenset(map(chr, UNRESERVED))
_IPV6: Final = frozenset("0123456789abcdefABCDEF:.")


@record
class Endpoint:
    """Where a service is."""

    host: str
    """Without brackets."""
    port: int
    authority: str
    """What the ``Host`` field says."""
    scheme: str = "http"


def parse_address(address: str) -> Endpoint:
    """Return what ``host:port`` says.

    Raises:
        Malformed: It is not ``host:port``.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and _is_port(port) and (_is_host(host) or _is_host(f"[{host}]"))):
        raise Malformed(f"expected the Runtime API's address as host:port, got {quote(address)}")
    bare = host.strip("[]")
    shown = f"[{bare}]" if ":" in bare else bare
    return Endpoint(host=bare, port=int(port), authority=f"{shown}:{int(port)}")


def parse_endpoint(url: str) -> Endpoint:
    """Return what ``http://host:port`` or ``https://host`` says.

    Raises:
        Malformed: It is no such URL.
    """
    scheme, _, authority = url.removesuffix("/").partition("://")
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, _PORTS.get(scheme, "")
    if not (scheme in _PORTS and _is_port(port) and _is_host(host)):
        raise Malformed(f"expected an endpoint as http://host:port or https://host, got {quote(url)}")
    return Endpoint(host=host.strip("[]"), port=int(port), authority=authority, scheme=scheme)


def _is_port(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= len("65535") and 0 < int(digits) < 65_536


def _is_host(host: str) -> bool:
    """Say whether it is a name or an IPv4 address, or an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    if host[:1] != "[" or host[-1:] != "]":
        return bool(host) and _NAME.issuperset(host)
    return ":" in host and _IPV6.issuperset(host[1:-1])

"""One mouth: addresses and endpoint URLs, as an environment variable or a user gives them."""

from __future__ import annotations

from collections.abc import Callable

from lambda_wire._addresses import Endpoint, parse_address, parse_endpoint
from lambda_wire._malformed import Malformed


def one_input(data: bytes) -> None:
    """Any text is an address or ``Malformed``, and an endpoint URL or ``Malformed``.

    What was understood can be dialled and stand in a ``Host`` field, and written again it is understood as the same.
    """
    text = data.decode("utf-8", "surrogateescape")
    if (address := _read(parse_address, text)) is not None:
        _assert_usable(address)
        assert parse_address(address.authority) == address
    if (endpoint := _read(parse_endpoint, text)) is not None:
        _assert_usable(endpoint)
        assert parse_endpoint(f"{endpoint.scheme}://{endpoint.authority}") == endpoint


def _read(parse: Callable[[str], Endpoint], text: str) -> Endpoint | None:
    try:
        return parse(text)
    except Malformed:
        return None


def _assert_usable(endpoint: Endpoint) -> None:
    assert 0 < endpoint.port < 65_536
    assert endpoint.host
    assert endpoint.scheme in ("http", "https")
    for said in (endpoint.host, endpoint.authority):
        assert said.isascii()
        assert said.isprintable()
        assert not set(said) & set(" /?#@%")

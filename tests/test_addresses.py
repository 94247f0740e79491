"""Where a service is said to be: ``host:port``, and endpoint URLs; everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_addresses import one_input
from lambda_wire._addresses import Endpoint, parse_address, parse_endpoint
from lambda_wire._malformed import Malformed


@pytest.mark.parametrize(
    ("address", "host", "port", "authority"),
    [
        ("127.0.0.1:9001", "127.0.0.1", 9001, "127.0.0.1:9001"),
        ("localhost:1", "localhost", 1, "localhost:1"),
        ("host:00080", "host", 80, "host:80"),
        ("host:65535", "host", 65535, "host:65535"),
        ("[::1]:9001", "::1", 9001, "[::1]:9001"),
        ("::1:9001", "::1", 9001, "[::1]:9001"),
    ],
)
def test_addresses(address: str, host: str, port: int, authority: str) -> None:
    """Where to dial, and what the Host field says: brackets around an IPv6 address (RFC 3986, 3.2.2)."""
    assert parse_address(address) == Endpoint(host=host, port=port, authority=authority)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        ":9001",
        "host:",
        "host:x",
        "host:0",
        "host:-1",
        "host:65536",
        "host:000080",
        "host:²",
        "host:٣",
        "host:" + "1" * 5000,
        "http://127.0.0.1:9001",
        "a/b:1",
        "[]:9001",
        "a b:9001",
        "user@host:9001",
        "ho?st:80",
        "ho#st:80",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    """What is not host:port is refused, with what was expected."""
    with pytest.raises(Malformed, match="expected the Runtime API's address as host:port"):
        parse_address(address)


@pytest.mark.parametrize(
    ("endpoint", "said", "host", "port"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1", 9000),
        ("http://127.0.0.1:9000/", "127.0.0.1:9000", "127.0.0.1", 9000),
        ("http://localhost", "localhost", "localhost", 80),
        ("http://my_lambda.test:65535", "my_lambda.test:65535", "my_lambda.test", 65535),
        ("https://lambda.us-east-1.amazonaws.com", "lambda.us-east-1.amazonaws.com", None, 443),
        ("https://lambda.us-east-1.amazonaws.com:8443/", "lambda.us-east-1.amazonaws.com:8443", None, 8443),
        ("http://[::1]", "[::1]", "::1", 80),
        ("http://[::1]/", "[::1]", "::1", 80),
        ("https://[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1", 443),
        ("http://[2001:DB8::1]:9000", "[2001:DB8::1]:9000", "2001:DB8::1", 9000),
    ],
)
def test_endpoints(endpoint: str, said: str, host: str | None, port: int) -> None:
    """What the Host field says, and where to dial."""
    scheme = endpoint.partition(":")[0]
    assert parse_endpoint(endpoint) == Endpoint(
        host=host or said.partition(":")[0], port=port, authority=said, scheme=scheme
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1:9000",
        "127.0.0.1",
        "//host",
        "://host",
        "http:host",
        "http:/host",
        "http://",
        "http:///",
        "http://:80",
        "http://host:",
        "http://host:0",
        "http://host:65536",
        "http://host:-1",
        "http://host:+1",
        "http://host:8 0",
        "http://host:²",
        "http://host:٣",
        "http://host:" + "1" * 5000,
        "http://host//",
        "http://host/path",
        "http://host/path/",
        "http://host/?a=b",
        "http://host?a=b",
        "http://host#a",
        "http://user@host",
        "http://user:word@host:80",
        "http://ho st",
        " http://host",
        "http://host ",
        "http://host\n",
        "http://a\r\nb",
        "http://bücher.test",
        "http://\ud800",
        "http://a%2Fb",
        "http://a,b",
        "http://::1",
        "http://::1:9000",
        "http://[::1",
        "http://::1]",
        "http://[::1]9000",
        "http://[::1]:",
        "http://[::1]:65536",
        "http://[]",
        "http://[]:80",
        "http://[host]",
        "http://[127.0.0.1]:80",
        "http://[fe80::1%eth0]:80",
        "http://[[::1]]",
        "ftp://host",
        "HTTP://host",
        "https+x://host",
    ],
)
def test_endpoints_that_are_none(endpoint: str) -> None:
    """They are refused at once, with what was expected."""
    with pytest.raises(Malformed, match="expected an endpoint as http://host:port or https://host"):
        parse_endpoint(endpoint)


def test_only_brackets_are_taken_away() -> None:
    """Letters at the ends belong to the name."""
    assert parse_address("XaX:80").host == "XaX"
    assert parse_endpoint("http://XaX").host == "XaX"


@pytest.mark.parametrize("host", ["[x::1]", "[::1x]", "[ ::1]", "[::1 ]"])
def test_every_character_of_an_ipv6_address_counts(host: str) -> None:
    """Also the first and the last; the message quotes what came."""
    with pytest.raises(Malformed) as caught:
        parse_address(f"{host}:80")
    assert str(caught.value) == f"expected the Runtime API's address as host:port, got '{host}:80'"
    with pytest.raises(Malformed) as caught:
        parse_endpoint(f"http://{host}")
    assert str(caught.value) == f"expected an endpoint as http://host:port or https://host, got 'http://{host}'"


PARTS = ["http", "https", "://", "/", ":", "[", "]", "::1", "127.0.0.1", "a", "80", "0", "65536", " ", "\n", "é", "?"]


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=20))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(parts=st.lists(st.sampled_from(PARTS), max_size=8))
    def test_nearly_right(self, parts: list[str]) -> None:
        """Parts of addresses in any order."""
        one_input("".join(parts).encode())

"""Heads that are not plain, as h11 reads them; and its faults in our words."""

from __future__ import annotations

import h11
import pytest

from lambda_wire._h11 import BadHead, odd_request, odd_response
from lambda_wire._limits import MAX_LENGTH
from lambda_wire._malformed import Malformed

GET = b"GET / HTTP/1.1\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
FIELD = "expected a name, a colon and a value, got "
LENGTH = f"expected a Content-Length of at most {MAX_LENGTH}, got "


def reason_of(head: bytes) -> tuple[str, int, str]:
    """Return why a head is none, the status that answers it, and its rule; its place is the first byte of a line."""
    with pytest.raises(BadHead) as caught:
        odd_response(head, "GET") if head.startswith(b"HTTP/") else odd_request(head)
    fault = caught.value
    assert isinstance(fault, Malformed)
    assert isinstance(fault.__cause__, h11.RemoteProtocolError)
    assert fault.at is not None
    assert fault.at == 0 or head[fault.at - 1 : fault.at] in (b"\n", b"\r")
    return fault.reason, fault.status_hint, fault.rule


class TestRequests:
    """Whatever h11 takes."""

    @pytest.mark.parametrize(
        ("head", "method", "target", "version"),
        [
            (GET + b"Host: a\r\n\r\n", "GET", "/", "1.1"),
            (b"brew http://a/?b HTTP/1.1\nHOST:\n\n", "brew", "http://a/?b", "1.1"),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", "CONNECT", "a:1", "1.1"),
            (b"GET * HTTP/1.0\r\n\r\n", "GET", "*", "1.0"),
            (b"GET / HTTP/2.0\r\n\r\n", "GET", "/", "2.0"),
        ],
    )
    def test_first_lines(self, head: bytes, method: str, target: str, version: str) -> None:
        """Any method, target and version: who reads it judges them."""
        assert odd_request(head)[:3] == (method, target, version)

    def test_fields(self) -> None:
        """In order, names in lower case, values without blanks, unfolded, and no byte is lost."""
        lines = b"Host: a\r\nX:\t b \t\r\nx: \xc3\xa9\xff\r\nFolded: a\r\n\tb\r\nEmpty:\r\nContent-Length: 3, 3\r\n\r\n"
        assert odd_request(GET + lines)[3] == (
            ("host", "a"),
            ("x", "b"),
            ("x", "é\udcff"),
            ("folded", "a b"),
            ("empty", ""),
            ("content-length", "3"),
        )

    def test_a_head_of_any_size(self) -> None:
        """Who read it has measured it."""
        assert odd_request(GET + b"Host: " + b"a" * 100_000 + b"\r\n\r\n")[3] == (("host", "a" * 100_000),)


class TestResponses:
    """Whatever h11 takes, final or not."""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "CONNECT", "odd"])
    @pytest.mark.parametrize("status", [100, 103, 199, 200, 204, 304, 600, 999])
    def test_statuses(self, method: str, status: int) -> None:
        """Whichever method they answer."""
        head = f"HTTP/1.1 {status}\r\nx: y\r\n\r\n".encode()
        assert odd_response(head, method) == (status, "1.1", (("x", "y"),))

    @pytest.mark.parametrize("version", ["0.9", "1.0", "3.0"])
    def test_versions(self, version: str) -> None:
        """Who reads it judges them."""
        assert odd_response(f"HTTP/{version} 200 \n\n".encode(), "GET") == (200, version, ())


class TestFaults:
    """Every reason of h11's, within bounds and without Python's names."""

    @pytest.mark.parametrize(
        ("head", "reason", "status"),
        [
            (b"GARBAGE\r\n\r\n", "expected a method, a target and a version, got b'GARBAGE'", 400),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "expected a version and a status, got b'HTTP/1.1 2000 OK'", 400),
            (b"HTTP/1.1 099 x\r\n\r\n", "expected a status from 100 to 999, got 99", 400),
            (b"HTTP/1.1 101 x\r\n\r\n", "expected no switch of protocols, got status 101", 400),
            (GET + b"Host: a\r\nb c: d\r\n\r\n", f"{FIELD}b'b c: d'", 400),
            (GET + b"Host: a\r\nb: bytearray(c\x00)\r\n\r\n", f"{FIELD}b'b: bytearray(c\\x00)'", 400),
            (GET + b" Host: a\r\n\r\n", "expected a field, got a continuation line at start of headers", 400),
            (GET + b"\r\n", "expected a Host field, got none", 400),
            (GET + b"Host: a\r\nHost: a\r\n\r\n", "expected one Host field, got another", 400),
            (OK + b"Content-Length: 1x\r\n\r\n", "expected one number as Content-Length, got b'1x'", 400),
            (OK + b"Content-Length: 1, 2\r\n\r\n", "expected one number as Content-Length, got b'1, 2'", 400),
            (OK + b"Content-Length: " + b"1" * 21 + b"\r\n\r\n", f"{LENGTH}b'{'1' * 21}'", 400),
            (OK + b"Transfer-Encoding: gzip\r\n\r\n", "expected Transfer-Encoding: chunked, once, got b'gzip'", 501),
            (b"\r\n\r\n", "no request line received", 400),
        ],
    )
    def test_reasons(self, head: bytes, reason: str, status: int) -> None:
        """In the words of h11 but where they are for programmers; with the rule that is broken."""
        rule = "LI-HEAD-2" if "at most" in reason else "RT-CONN-2" if "Host field" in reason else "RT-CONN-16"
        assert reason_of(head) == (reason, status, "RT-CONN-11" if status == 501 else rule)

    @pytest.mark.parametrize("line", [b"_SWITCH", b"status_code", b"a b: _SWITCH status_code, not 3"])
    def test_a_quoted_line_is_no_reason(self, line: bytes) -> None:
        """What a peer writes is not taken for what h11 says."""
        assert reason_of(OK + line + b"\r\n\r\n")[0] == f"{FIELD}{line!r}"

    @pytest.mark.parametrize("line", [b"x" * 100_000, b"\x00" * 100, b"'" * 200 + b'"' * 200])
    def test_reasons_are_bounded(self, line: bytes) -> None:
        """However long the line that is wrong."""
        reason, _, _ = reason_of(OK + line + b"\r\n\r\n")
        assert len(reason) == 100
        assert reason.startswith(f"{FIELD}b")

    @pytest.mark.parametrize(
        ("head", "rule", "begins"),
        [
            (GET + b"Host: a\r\nx: y\r\nHost: b\r\n\r\n", "RT-CONN-2", b"Host: b"),
            (b"GARBAGE\r\nx\r\n\r\n", "RT-CONN-16", b"GARBAGE"),
            (GET + b"Host: a\r\nx\r\n\r\n", "RT-CONN-16", b"x\r\n"),
            (GET + b"Host: a:1\r\nX\r\n\r\n", "RT-CONN-16", b"X\r\n"),
            (GET + b"Host: a\r\nx: y\v\r\n\r\n", "RT-CONN-16", b"x: y"),
            (GET + b"Host: a\r\n b\r\nc d: e\r\n\r\n", "RT-CONN-16", b"c d"),
            (GET + b"Host: a\nx: y\rz: w\n\n", "RT-CONN-16", b"x: y"),
            (GET + b"Host: a\nx: y\n \0\n\n", "RT-CONN-16", b" \0"),
            (GET + b" a: b\r\nHost: a\r\n\r\n", "RT-CONN-16", b" a"),
            (GET + b"a: b\r\n\r\n", "RT-CONN-2", b"GET"),
            (OK + b"Content-Length: 1\r\ncontent-length: -3\r\n\r\n", "RT-CONN-16", b"content-"),
            (OK + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n", "RT-CONN-16", b"content-"),
            (OK + b"x: y\r\nContent-Length: " + b"1" * 21 + b"\r\n\r\n", "LI-HEAD-2", b"Content-"),
            (OK + b"x: y\r\nTransfer-Encoding: gzip\r\n\r\n", "RT-CONN-11", b"Transfer-"),
            (GET + b"Host: a\r\nTransfer-Encoding: gzip\r\n\r\n", "RT-CONN-21", b"Transfer-"),
            (OK + b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", "RT-CONN-11", b"transfer-"),
        ],
    )
    def test_places(self, head: bytes, rule: str, begins: bytes) -> None:
        """A fault is placed at the line that is wrong, the second of two that may not both be there."""
        with pytest.raises(BadHead) as caught:
            odd_response(head, "GET") if head.startswith(b"HTTP/") else odd_request(head)
        assert caught.value.rule == rule
        assert head[caught.value.at :].startswith(begins)

"""Heads as they are written, and read again."""

from __future__ import annotations

import http
from collections.abc import Callable

import pytest
from hypothesis import given

from lambda_wire._heads import (
    encode_request_head,
    encode_response_head,
    field_line,
    field_lines,
    field_members,
    field_value,
    first_values,
    head_lines,
    join_request_head,
    keeps_alive,
    reason_phrase,
)
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers
from tests.test_http11 import FIELDS, request_of, response_of


class TestEncode:
    """Written heads are read as they were meant, and nothing gets out that would be read as something else."""

    def test_bytes(self) -> None:
        """First line, fields as given, empty line."""
        assert encode_request_head("GET", "/a", (("Host", "é"),)) == b"GET /a HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"
        assert encode_response_head(202, (("A", ""),)) == b"HTTP/1.1 202 Accepted\r\nA: \r\n\r\n"
        assert encode_response_head(418, reason="Teapot") == b"HTTP/1.1 418 Teapot\r\n\r\n"
        assert encode_response_head(299) == b"HTTP/1.1 299 \r\n\r\n"

    @given(fields=FIELDS)
    def test_inverse(self, fields: Headers) -> None:
        """What is written is read."""
        lower = tuple((name.lower(), value) for name, value in fields)
        assert request_of(encode_request_head("GET", "/a", (("Host", "h"), *fields))).headers == (("host", "h"), *lower)
        assert response_of(encode_response_head(204, fields)).headers == lower

    def test_every_byte_travels(self) -> None:
        """A value that is no UTF-8 comes out as it went in."""
        assert encode_response_head(204, (("A", "\udcff"),)) == b"HTTP/1.1 204 No Content\r\nA: \xff\r\n\r\n"

    @pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b", "\r\n", "\ud800"])
    def test_no_line_is_ended_early(self, value: str) -> None:
        """Nor is anything written that is no text."""
        attempts: list[Callable[[], bytes]] = [
            lambda: encode_request_head("GET", "/", (("A", value),)),
            lambda: encode_request_head("GET", value, ()),
            lambda: encode_request_head(value, "/", ()),
            lambda: encode_response_head(200, ((value, "a"),)),
            lambda: encode_response_head(200, reason=value),
        ]
        for attempt in attempts:
            with pytest.raises(Malformed, match="header fields"):
                attempt()

    def test_first_value_wins(self) -> None:
        """As in Go's ``http.Header.Get``."""
        headers = (("a", "1"), ("b", "2"), ("a", "3"))
        assert [field_value(headers, name) for name in "abc"] == ["1", "2", ""]

    def test_first_values(self) -> None:
        """The same of all fields at once."""
        assert first_values((("a", "1"), ("b", "2"), ("a", "3"))) == {"a": "1", "b": "2"}

    def test_members_of_a_list(self) -> None:
        """On one line or on several, without blanks and capitals (RS-HEAD-4). A blank parts them, too."""
        headers = (("a", "B, c ,"), ("b", "x"), ("a", "\td e"))
        assert field_members(headers, "a") == {"b", "c", "d", "e"}
        assert field_members(headers, "z") == set()

    def test_places(self) -> None:
        """Lines are found where they begin, whether a CR ends them, too, or not (RT-CONN-17)."""
        lines = [b"GET / HTTP/1.1\r\n", b"Host: a:1\n", b"X: Y\r\n", b"HOST:\t\n", b"\r\n"]
        head = b"".join(lines)
        assert [(head[at : at + len(line)], line) for at, line in head_lines(head)] == [*zip(lines, lines, strict=True)]
        places = [head.index(name) for name in (b"Host", b"HOST")]
        assert [*field_lines(head, "host")] == [*zip(places, [b"a:1", b""], strict=True)]

    @pytest.mark.parametrize(
        ("version", "said", "kept"),
        [
            ("1.1", [], True),
            ("1.0", [], False),
            ("1.1", ["x, Close"], False),
            ("1.1", ["x"], True),
            ("1.0", ["x", "keep-alive"], True),
            ("1.0", ["x"], False),
            ("1.0", ["keep-alive, close"], True),
            ("1.1", ["keep-alive, close"], False),
        ],
    )
    def test_whether_a_connection_goes_on(self, version: str, said: list[str], *, kept: bool) -> None:
        """HTTP/1.1 does unless told otherwise, HTTP/1.0 if asked to (RT-CONN-4)."""
        headers = tuple(("connection", value) for value in said)
        assert keeps_alive(headers, first_values(headers), version) is kept

    def test_reasons(self) -> None:
        """Every status of the Runtime API has its words."""
        assert all(
            reason_phrase(status) for status in (200, 202, 400, 403, 404, 405, 410, 413, 417, 431, 500, 501, 505)
        )
        assert reason_phrase(299) == ""

    def test_reasons_of_other_statuses(self) -> None:
        """A service may say any: those of RFC 9110, 15, and of RFC 6585 have their words, as Python has them.

        Python's own changed some with its versions; one is Go's, which AWS's emulator writes.
        """
        newer = {414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
        ours = {413: "Request Entity Too Large"}
        others = {102, 103, 207, 208, 226, 418, 423, 424, 425, 451, 506, 507, 508, 510}  # of other documents, or unused
        for status in {*map(int, http.HTTPStatus)} - others:
            assert reason_phrase(status) == (newer | ours).get(status, http.HTTPStatus(status).phrase)
        assert encode_response_head(409) == b"HTTP/1.1 409 Conflict\r\n\r\n"

    def test_heads_of_lines(self) -> None:
        """The same bytes as of fields; a field without a value is left out."""
        lines = field_line("Host", "h") + field_line("B", "") + field_line("A", "\udcff")
        assert join_request_head("GET", "/a", lines) == b"GET /a HTTP/1.1\r\nHost: h\r\nA: \xff\r\n\r\n"
        assert join_request_head("GET", "/a", lines) == encode_request_head(
            "GET", "/a", (("Host", "h"), ("A", "\udcff"))
        )

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("a\rb", "expected header fields without CR, LF or NUL"),
            ("a\ud800", r"expected header fields of text, got '\ud800'"),
        ],
    )
    def test_messages(self, value: str, message: str) -> None:
        """Expected, got."""
        with pytest.raises(Malformed) as caught:
            encode_response_head(200, (("A", value),))
        assert str(caught.value) == message

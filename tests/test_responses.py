"""What a handler may return: checked where it is made, bodies handed on as given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from lambda_wire._limits import MAX_PRELUDE
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import Prelude
from lambda_wire._responses import Body, HttpResponse, StreamingResponse


def pieces() -> Iterator[bytes | str]:
    yield b"one"
    yield "two"


async def async_pieces() -> AsyncIterator[bytes]:
    yield b"one"


BODIES: list[Body] = [b"", b"bytes", "text", ["a", b"b"], ("a",), {"a"}, pieces(), async_pieces()]
NO_BODIES = [None, 7, 1.5, {"error": "not json.dumps'd"}, pieces, object()]


class TestHttpResponse:
    """A status, headers and cookies, checked at construction, and a body."""

    def test_defaults(self) -> None:
        """Nothing said is 200 with nothing."""
        response = HttpResponse()
        assert response.prelude == Prelude()
        assert response.body == b""

    def test_builds_its_prelude(self) -> None:
        """What is given becomes the prelude, order kept."""
        response = HttpResponse(
            status_code=404,
            headers={"X-B": "1", "x-a": "2"},
            cookies=["a=1", "b=2"],
            multi_value_headers={"x-c": ["1", "2"], "x-d": ()},
            body="gone",
        )
        assert response.prelude == Prelude(
            status_code=404,
            headers=(("X-B", "1"), ("x-a", "2")),
            cookies=("a=1", "b=2"),
            multi_value_headers=(("x-c", ("1", "2")), ("x-d", ())),
        )
        assert response.body == "gone"

    @pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
    def test_hands_bodies_on(self, body: Body) -> None:
        """A body is not touched: a generator is not started."""
        assert HttpResponse(body=body).body is body

    @pytest.mark.parametrize("made", [bytearray, memoryview])
    def test_freezes_buffers(self, made: type[bytearray | memoryview]) -> None:
        """A buffer that may change, and whose items are integers, becomes bytes."""
        response = HttpResponse(body=made(b"abc"))
        assert response.body == b"abc"
        assert type(response.body) is bytes

    @pytest.mark.parametrize("body", NO_BODIES, ids=lambda body: type(body).__name__)
    def test_refuses_other_bodies(self, body: Body) -> None:
        """What cannot be sent is refused; a mapping would send its keys."""
        with pytest.raises(Malformed, match="body must be bytes, str, or an iterable of them, got "):
            HttpResponse(body=body)

    def test_refuses_what_cannot_travel(self) -> None:
        """The error shows where the response is made."""
        with pytest.raises(Malformed, match="statusCode must be an integer from 100 to 599, got 700"):
            HttpResponse(status_code=700)
        with pytest.raises(Malformed, match="header 'x-n' must be a string, got int"):
            HttpResponse(headers={"x-n": 7})  # type: ignore[dict-item]  # the check under test
        with pytest.raises(Malformed, match="without control characters"):
            HttpResponse(cookies=["a=1\r\nb: 2"])

    def test_refuses_what_must_not_be_sent(self) -> None:
        """The check is the strict one of the encoder."""
        with pytest.raises(Malformed, match="must not have Content-Length"):
            HttpResponse(headers={"Content-Length": "3"})
        with pytest.raises(Malformed, match="give each cookie as an entry of cookies"):
            HttpResponse(headers={"set-cookie": "a=1"})

    def test_refuses_a_bare_string_for_several(self) -> None:
        """A string is a sequence of strings to Python only."""
        with pytest.raises(Malformed, match="cookies must be a list of strings, got the string 'a=1'"):
            HttpResponse(cookies="a=1")
        with pytest.raises(
            Malformed, match=r"multi_value_headers\['x'\] must be a list of strings, got the string '1'"
        ):
            HttpResponse(multi_value_headers={"x": "1"})

    def test_leaves_size_to_the_encoder(self) -> None:
        """The limit depends on what stands in front of the function; whoever encodes may raise it."""
        assert HttpResponse(headers={"x": "v" * MAX_PRELUDE}).prelude.headers[0][0] == "x"

    def test_keeps_the_body_to_itself(self) -> None:
        """Bodies and cookies stay out of repr."""
        shown = repr(HttpResponse(status_code=201, cookies=["secret"], body=b"secret"))
        assert shown == "HttpResponse(Prelude(status_code=201, headers=(), multi_value_headers=()))"

    def test_takes_keywords_only(self) -> None:
        """A status and a body are never mistaken for one another."""
        with pytest.raises(TypeError):
            HttpResponse(200)  # type: ignore[call-arg]  # the check under test


class TestStreamingResponse:
    """A body and a content type."""

    @pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
    def test_hands_bodies_on(self, body: Body) -> None:
        """The body is not touched; its type is octets unless said otherwise."""
        response = StreamingResponse(body)
        assert response.body is body
        assert response.content_type == "application/octet-stream"

    def test_freezes_buffers(self) -> None:
        """A buffer becomes bytes."""
        assert StreamingResponse(bytearray(b"abc")).body == b"abc"

    @pytest.mark.parametrize("body", NO_BODIES, ids=lambda body: type(body).__name__)
    def test_refuses_other_bodies(self, body: Body) -> None:
        """What cannot be sent is refused."""
        with pytest.raises(Malformed, match="body must be bytes, str, or an iterable of them, got "):
            StreamingResponse(body)

    def test_checks_its_content_type(self) -> None:
        """It must be a header value."""
        assert StreamingResponse("", content_type="text/csv; charset=utf-8").content_type == "text/csv; charset=utf-8"
        with pytest.raises(Malformed, match="content_type must be a header value without control characters"):
            StreamingResponse("", content_type="text/csv\r\n")

    def test_keeps_the_body_to_itself(self) -> None:
        """Bodies stay out of repr."""
        assert repr(StreamingResponse(b"secret")) == "StreamingResponse(content_type='application/octet-stream')"


@pytest.mark.parametrize(("body", "name"), [(None, "NoneType"), (7, "int"), ({}, "dict")])
def test_a_message_says_what_came(body: Body, name: str) -> None:
    """By its type: it may be large."""
    with pytest.raises(Malformed, match=f"^body must be bytes, str, or an iterable of them, got {name}$"):
        HttpResponse(body=body)

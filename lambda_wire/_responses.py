"""What a handler may return to say more than a value: an HTTP response, or a stream with a content type."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import TypeAlias

from lambda_wire import _names as names
from lambda_wire._malformed import Malformed, quote
from lambda_wire._prelude import Prelude, require_sendable, require_text_value

__all__ = ["Body", "HttpResponse", "StreamingResponse"]

Body: TypeAlias = bytes | str | Iterable[bytes | str] | AsyncIterable[bytes | str]
"""What a response may carry; text travels as UTF-8."""


class HttpResponse:
    """An HTTP response: sent as a stream whose prelude carries status, headers and cookies.

    It is checked when it is made, so that the error shows in the handler that made it. Its size is not: that limit
    belongs to whoever encodes it.

    Args:
        status_code: 100-599.
        headers: One string a name. Not for ``Set-Cookie``, ``Content-Length`` or fields of the connection.
        cookies: Whole ``Set-Cookie`` values.
        body: Bytes, text, or an iterable or async iterable of these, which is sent piece by piece.
        multi_value_headers: Understood by API Gateway REST APIs only: function URLs answer 500.

    Attributes:
        prelude: What is sent before the body.
        body: The body, as given; a ``bytearray`` or ``memoryview`` as ``bytes``.

    Raises:
        Malformed: Something of it cannot be sent; the message says what.
    """

    __slots__ = ("body", "prelude")

    def __init__(
        self,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
        body: Body | bytearray | memoryview = b"",
        multi_value_headers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.prelude: Prelude = Prelude(
            status_code=status_code,
            headers=tuple((headers or {}).items()),
            cookies=_strings(cookies, "cookies"),
            multi_value_headers=tuple(
                (name, _strings(values, f"multi_value_headers[{quote(name)}]"))
                for name, values in (multi_value_headers or {}).items()
            ),
        )
        require_sendable(self.prelude)
        self.body: Body = _checked_body(body)

    def __repr__(self) -> str:
        return f"HttpResponse({self.prelude!r})"


class StreamingResponse:
    """A stream with a content type and nothing else of HTTP.

    Args:
        body: Bytes, text, or an iterable or async iterable of these, which is sent piece by piece.
        content_type: What the caller sees as ``Content-Type``.

    Raises:
        Malformed: ``content_type`` is no header value, or ``body`` cannot be sent.
    """

    __slots__ = ("body", "content_type")

    def __init__(self, body: Body | bytearray | memoryview, *, content_type: str = names.OCTET_STREAM) -> None:
        require_text_value(content_type, "content_type")
        self.content_type: str = content_type
        self.body: Body = _checked_body(body)

    def __repr__(self) -> str:
        return f"StreamingResponse(content_type={self.content_type!r})"


def _strings(values: Sequence[str], what: str) -> tuple[str, ...]:
    """Refuse a bare string, which is a sequence of strings to Python and a mistake to everyone else."""
    if isinstance(values, str):
        raise Malformed(f"{what} must be a list of strings, got the string {quote(values)}")
    return tuple(values)


def _checked_body(body: Body | bytearray | memoryview) -> Body:
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    if not _is_body(body):
        raise Malformed(f"body must be bytes, str, or an iterable of them, got {type(body).__name__}")
    return body


def _is_body(value: object) -> bool:
    """A mapping is iterable, but to send its keys is a mistake: the body was meant to be its JSON."""
    return isinstance(value, (Iterable, AsyncIterable)) and not isinstance(value, Mapping)

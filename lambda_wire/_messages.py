"""The parts of HTTP/1.1 messages, as a reader gives them, and what is wrong with bytes that are none."""

from __future__ import annotations

from lambda_wire._events import ConnectionClosed
from lambda_wire._malformed import Malformed
from lambda_wire._record import field, record
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = [
    "HttpEvent",
    "MalformedHead",
    "MalformedMessage",
    "MessageEnd",
    "PlainAnswer",
    "RequestHead",
    "ResponseHead",
    "TruncatedMessage",
]


@record
class RequestHead:
    """The head of a request. Header names are in lower case."""

    method: str
    target: str
    headers: Headers
    keep_alive: bool
    http_version: str = "1.1"
    expects_continue: bool = False
    """Whether the body comes only after ``100 Continue``. Never without a body."""


@record
class ResponseHead:
    """The head of a final response. Header names are in lower case."""

    status: int
    headers: Headers
    keep_alive: bool


@record
class MessageEnd:
    """The message is complete."""

    trailers: Headers = ()
    """Only chunked bodies have them."""
    body: bytes = field(default=b"", repr=False)
    """All of it, if it was collected; else its pieces came before."""


PlainAnswer: TypeAlias = tuple[int, Headers, bytes]
"""Status, fields with names in lower case, and body."""

HttpEvent: TypeAlias = RequestHead | ResponseHead | bytes | MessageEnd | ConnectionClosed


class MalformedMessage(Malformed):
    """Bytes that are no HTTP/1.1 message.

    Attributes:
        status_hint: The status that a server answers this with.
    """

    def __init__(self, reason: str, *, at: int | None, status_hint: int = 400, rule: str = "") -> None:
        super().__init__(reason, at=at, rule=rule)
        self.status_hint = status_hint


class MalformedHead(MalformedMessage):
    """A head that is none. Here ``at`` counts from its first byte.

    Attributes:
        field: Whose first line is wrong, where ``at`` is not known: a name in lower case.
    """

    def __init__(
        self, reason: str, *, at: int | None = None, field: str = "", status_hint: int = 400, rule: str = "RT-CONN-16"
    ) -> None:
        super().__init__(reason, at=at, status_hint=status_hint, rule=rule)
        self.field = field


class TruncatedMessage(MalformedMessage):
    """A message that was fine until its connection ended."""

"""What answers say, and whether the service may say so; and what it says of the request by refusing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from lambda_wire import _names as names
from lambda_wire._answers import decode_answer, encode_answer
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
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._heads import field_value
from lambda_wire._invoke_answers import decode_accepted, decode_answered, decode_refusal
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeAsked, InvokeRefused, OtherAsked
from lambda_wire._lifecycle import NOT_FOUND
from lambda_wire._malformed import Malformed, quote
from lambda_wire._messages import ResponseHead
from lambda_wire._types import Headers
from lambda_wire.decode.contents import Messages
from lambda_wire.decode.meaning import Asked, Meaning, Talk
from lambda_wire.decode.pieces import Layer, Piece, Verdict, violation
from lambda_wire.decode.refusals import BODY, PLAIN, broken_by, shown
from lambda_wire.decode.rules import (
    ANSWER_FIELDS,
    CONTENT_TYPES,
    EVENTS,
    URL_ANSWER,
    URL_ANSWER_FIELDS,
)

__all__ = ["Answer"]

_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()
#: What no answer of a function URL has of its own, save the type of a refusal: both have it, and are read alike.
_INVOKE_ALONE: Final = frozenset(
    name.lower()
    for name in (
        names.X_AMZ_EXECUTED_VERSION,
        names.X_AMZ_FUNCTION_ERROR,
        names.X_AMZ_LOG_RESULT,
        names.X_AMZN_ERROR_TYPE,
        names.X_AMZN_REMAPPED_CONTENT_TYPE,
    )
)
#: The rule for the status and the body of what the service says when all is well, by what was asked.
_EXACT: Final[Mapping[type | None, str]] = {
    BufferedResponse: "RT-RESP-10",
    ErrorReported: "RT-ERR-2",
    InitErrorReported: "RT-INIT-3",
    RestoreErrorReported: "RT-RESTORE-8",
    RestoreAsked: "RT-RESTORE-3",
    PingAsked: "RT-PING-1",
}
#: The field whose line is wrong, where a fault of an answer has this rule.
_FIELDS: Final = {"RT-NEXT-5": names.AWS_REQUEST_ID, "RT-RESTORE-3": names.AWS_REQUEST_ID}
#: The statuses of refusals that are never plain text (RT-STATE-5).
_TYPED: Final = (403, 410, 413, 500)


class Answer(Meaning):
    """An answer, to what was asked before, or to what it shows itself that was asked.

    Args:
        begin: Where it begins in the capture.
        head: Its head.
        talk: What was said before.
        early: Whether the request is not complete.
    """

    def __init__(self, begin: int, head: ResponseHead, talk: Talk, *, early: bool) -> None:
        super().__init__(begin)
        self._head = head
        self._talk = talk
        self._early = early
        self._asked = talk.asked.popleft() if talk.asked else _guessed(head)
        self._collected = bytearray()
        ask, good = self._asked.ask, 200 <= head.status <= 299
        kind: type | None = Invocation if ask is NextAsked and good else None
        if ask is InvokeAsked and good and self._asked.streaming:
            remapped = field_value(head.headers, names.X_AMZN_REMAPPED_CONTENT_TYPE.lower())
            kind, self._content = InvokeAccepted, Messages(Layer.CONTENT, remapped)
        elif ask is InvokeAsked:
            kind = InvokeAnswered if good else InvokeRefused
        self._kind = kind
        what = f"answer {head.status}" if ask is None else f"answer {head.status} to: {EVENTS[ask][0]}"
        rules = () if kind is None else EVENTS[kind][1]
        fields: Mapping[str, str] = {**ANSWER_FIELDS, _CONTENT_TYPE: CONTENT_TYPES.get(kind, "")}
        if ask is OtherAsked:
            rules, fields = URL_ANSWER, URL_ANSWER_FIELDS
        if early:
            what, rules = f"{what}, before its end", ("RS-EARLY-1",)
        self._is(what, rules, fields)

    def body(self, data: bytes, offset: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        if self._kind is not InvokeAccepted:
            self._collected += data
        yield from super().body(data, offset)

    def end(self, trailers: Headers | None, end: int) -> Iterator[Piece]:
        """See ``Meaning``."""
        yield from super().end(trailers, end)
        if trailers is None:
            return
        try:
            event = self._event()
        except Malformed as fault:
            yield violation(fault, self.place(_FIELDS.get(fault.rule, "")), "IN-ANSWER-4")
            return
        whole = self._whole(event, end)
        match event:
            case Refused(error_type="") if event.status in PLAIN:
                what = f"refusal in plain text: {event!r}"
                yield _as(whole, what, PLAIN[event.status])
                yield from self._refusal(event)
            case Refused():
                yield whole
                yield from self._refusal(event)
            case Invocation():
                yield whole
                yield from self._invocation(event)
            case Accepted() | Pong() | RestoreReady():
                yield whole
                yield from self._exact(event)
            case _:
                yield whole
                yield from self._stray()

    def _event(self) -> object:
        head, body, ask = self._head, bytes(self._collected), self._asked.ask
        if self._kind is InvokeAccepted:
            return decode_accepted(head)
        if ask is InvokeAsked:
            return decode_answered(head, body) if self._kind is InvokeAnswered else decode_refusal(head, body)
        if ask is None and self._asked.of_runtime and (head.status >= 400 or body == b"pong"):
            ask = PingAsked  # every request of the Runtime API is refused alike
        return None if ask in (None, OtherAsked) else decode_answer(ask, head.status, head.headers, body)

    def _invocation(self, event: Invocation) -> Iterator[Piece]:
        """Say what it lacks, although a runtime can go on without it (RT-NEXT-16)."""
        if event.deadline_ms is None:
            got = field_value(self._head.headers, names.DEADLINE_MS.lower())
            reason = f"expected {names.DEADLINE_MS} in decimal Unix milliseconds, got {quote(got) if got else 'none'}"
            yield self._broken(reason, "RT-NEXT-6", names.DEADLINE_MS)
        if not event.invoked_function_arn:
            reason = f"expected an ARN in {names.INVOKED_FUNCTION_ARN}, got none"
            yield self._broken(reason, "RT-NEXT-7", names.INVOKED_FUNCTION_ARN)

    def _exact(self, event: Accepted | Pong | RestoreReady) -> Iterator[Piece]:
        """Hold it against what our service says."""
        rule = _EXACT.get(self._asked.ask, "RT-PING-1")
        status, expected = 202 if isinstance(event, Accepted) else 200, b"".join(encode_answer(event)[1:])
        if self._early and self._asked.ask is BufferedResponse:
            yield self._broken(f"expected no {self._head.status} before the end of the stream", "RS-END-3")
        elif self._head.status != status:
            yield self._broken(f"expected status {status}, got {self._head.status}", rule)
        elif (got := bytes(self._collected)) != expected and rule != "RT-RESTORE-8":
            yield self._broken(f"expected the body {quote(expected)}, got {quote(got)}", rule, BODY)

    def _refusal(self, event: Refused) -> Iterator[Piece]:
        """Say what the service broke by refusing so, or the request by being refused, which may lie before it."""
        request, ask = self._asked.request, self._asked.ask
        if event.status in _TYPED and not event.error_type and ask is not None:
            reason = f"expected an error document with {names.ERROR_TYPE}, got {quote(event.error_message)}"
            yield self._broken(reason, "RT-STATE-5", BODY)
        broken = broken_by(ask, event, held=self._talk.held)
        self._talk.held = self._talk.held or event.error_type == names.INVALID_FUNCTION_RESPONSE_MODE
        early = self._early and event.status == 413  # nobody knows the size of the whole yet (RS-EARLY-1)
        if broken is None or not event.error_type or early or (request is not None and request.refused):
            return
        reason = f"expected {broken.expected}, got a request that the service answered with {shown(event)}"
        yield violation(Malformed(reason), self._begin if request is None else request.place(broken.field), broken.rule)

    def _stray(self) -> Iterator[Piece]:
        """Tell the Runtime API by its answer to a path that a function URL could have had (RT-PATH-2)."""
        head, asked = self._head, self._asked
        if asked.ask is not OtherAsked or head.status != 404:
            return
        said = decode_answer(PingAsked, head.status, head.headers, bytes(self._collected))
        strange = {names.X_AMZN_REQUEST_ID.lower()} & {name for name, _ in head.headers}
        if said == NOT_FOUND and not strange and asked.request is not None:
            reason = "expected a path of the Runtime API, got one that it answered with 404"
            yield violation(Malformed(reason), asked.request.place(""), "RT-PATH-2")


def _as(piece: Piece, what: str, *rules: str) -> Piece:
    return Piece(
        offset=piece.offset,
        length=piece.length,
        what=what,
        rules=rules,
        value=piece.value,
        layer=piece.layer,
        verdict=Verdict.FINE,
    )


def _guessed(head: ResponseHead) -> Asked:
    """Return what was asked, if the head of its answer shows that."""
    fields = {name for name, _ in head.headers}
    streaming = field_value(head.headers, _CONTENT_TYPE).startswith(names.EVENT_STREAM)
    ask: type | None = None
    if streaming or not _INVOKE_ALONE.isdisjoint(fields):
        ask = InvokeAsked
    elif names.X_AMZN_REQUEST_ID.lower() in fields:  # an Invoke that ran nothing has no field but this, either
        ask = None if head.status in (202, 204) else OtherAsked
    elif names.AWS_REQUEST_ID.lower() in fields:
        ask = NextAsked
    elif head.status == 202:
        ask = BufferedResponse
    return Asked(method="GET", ask=ask, streaming=streaming)

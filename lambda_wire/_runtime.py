"""The runtime's end of the Runtime API, on one connection.

``send`` says what the runtime asks and reports; ``next_event`` says what the service answers. Requests and answers
alternate; only while a streamed response is being sent may an answer come early, and it is then given at once.
"""

from __future__ import annotations

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._answers import decode_answer
from lambda_wire._asks import Request, encode_ask
from lambda_wire._chunked import CHUNK_END, chunk_buffers, chunk_head, encode_end
from lambda_wire._errors import LocalProtocolError
from lambda_wire._events import (
    Accepted,
    Ask,
    ConnectionClosed,
    Invocation,
    NextAsked,
    Pong,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreReady,
)
from lambda_wire._fields import require_field_value, require_host
from lambda_wire._heads import USER_AGENT, field_line, join_request_head
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._messages import PlainAnswer
from lambda_wire._routes import route_of, target_of
from lambda_wire._signals import Signal
from lambda_wire._state import Act, Turn
from lambda_wire._turns import ClientRole
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, TypeAlias

__all__ = ["USER_AGENT", "RuntimeConnection", "RuntimeEvent", "require_legal"]

RuntimeEvent: TypeAlias = Invocation | Accepted | Refused | RestoreReady | Pong | ConnectionClosed


_POLLS: Final = (NextAsked, RestoreAsked)
_REQUEST_STARTED: Final = Act.REQUEST_STARTED  # see ``_turns``
_REQUEST_PART: Final = Act.REQUEST_PART
_AWAITING: Final = Turn.AWAITING
_SENDING: Final = Turn.SENDING
_REQUESTS: Final = frozenset(Request.__args__)


class RuntimeConnection(ClientRole[Ask, RuntimeEvent]):
    """The runtime's end of one TCP connection to the Runtime API.

    Args:
        host: What the ``Host`` field says, such as ``127.0.0.1:9001``.
        lifecycle: The state that outlives connections: of the environment, or of this slot where it runs many
            invocations at once; a new one when not given.
        user_agent: What the ``User-Agent`` field says.
        max_payload: Largest answer body in bytes.

    Raises:
        Malformed: ``host`` is none, or ``user_agent`` is no header value.
    """

    def __init__(
        self,
        *,
        host: str,
        lifecycle: StandardLifecycle | None = None,
        user_agent: str = USER_AGENT,
        max_payload: int = limits.MAX_EVENT,
    ) -> None:
        require_host(host)
        require_field_value(user_agent, "user_agent")
        super().__init__("service")
        self._common = field_line(names.HOST, host) + field_line(names.USER_AGENT, user_agent)
        self._lifecycle = StandardLifecycle(snap_start=True) if lifecycle is None else lifecycle
        self._max_payload = max_payload
        self._ask: type = NextAsked
        self._request_id = ""
        self._holds = False
        """Whether a request is open, so that its answer moves the environment on."""
        self._fixed_heads: dict[type, bytes] = {}
        """Of requests that are the same each time."""

    @property
    def streaming(self) -> bool:
        """Whether a streamed response has begun that can go on."""
        return self._turn is _SENDING and self._usable

    @property
    def reporting(self) -> bool:
        """Whether anything but a poll is open."""
        return self._holds and self._ask not in _POLLS

    @property
    def polling(self) -> bool:
        """Whether a poll is open, for an invocation or for the restored environment."""
        return self._ask in _POLLS and self.awaiting_answer

    @property
    def unheard(self) -> bool:
        """Whether nothing has come of the answer that is due."""
        return self._turn is _AWAITING and not self._reader.in_message

    def awaits(self, ask: type) -> bool:
        """Say whether the open request whose answer is due is an ``ask``."""
        return self.awaiting_answer and self._ask is ask

    # -- out

    def send_buffers(self, event: Ask) -> list[BytesLike]:
        """Return what ``send`` returns, as buffers to be written in order: a payload is not copied.

        Raises:
            LocalProtocolError: It may not be said now. Nothing changed.
            Malformed: It cannot be said on this wire, such as error trailers above their limit. Nothing changed.
        """
        if isinstance(event, ResponseChunk):
            self._require(_REQUEST_PART, "ResponseChunk")
            data = event.data
            return [chunk_head(len(data)), data, CHUNK_END]
        what = type(event).__name__
        match event:
            case ResponseFinished() | ResponseFailed():
                self._require(Act.REQUEST_ENDED, what)
                buffers: list[BytesLike] = [_encode_end(event)]
                self._move(Act.REQUEST_ENDED)
                return buffers
            case _ if type(event) in _REQUESTS:
                self._require(_REQUEST_STARTED, what)
                return self._send_request(event)
            case _:
                raise LocalProtocolError(f"{what} may not be sent by a runtime")

    def send_chunks(self, pieces: Sequence[bytes]) -> list[BytesLike]:
        """Return what ``send_buffers`` returns for a ``ResponseChunk`` of each piece: small ones in buffers together.

        Raises:
            LocalProtocolError: They may not be said now.
            Malformed: A piece is empty: it would end the stream.
        """
        self._require(_REQUEST_PART, "ResponseChunk")
        return chunk_buffers(pieces)

    def _send_request(self, event: Request) -> list[BytesLike]:
        ask = type(event)
        request_id = require_legal(self._lifecycle, event)
        route = route_of(ask)
        head, payload = self._fixed_heads.get(ask), b""
        if head is None:
            lines, payload = encode_ask(event)
            head = join_request_head(route.method, target_of(route, request_id), self._common + lines)
            if not lines:
                self._fixed_heads[ask] = head
        self._lifecycle.asked(ask, request_id)
        self._ask, self._request_id, self._holds = ask, request_id, True
        self._start_request(route.method, whole=ask is not ResponseStarted)
        return [head, payload] if payload else [head]

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it. The fate of what was being sent stays unknown."""
        self._let_go()
        super().abandon()

    # -- in

    def next_event(self) -> RuntimeEvent | Signal:
        """Return what the service said next, or a signal.

        Raises:
            RemoteProtocolError: It said what it may not. Every later call raises it again.
        """
        self._check()
        try:
            heard = self._next_answer(self._max_payload)
            if isinstance(heard, Signal):
                return heard
            if isinstance(heard, ConnectionClosed):
                self._let_go()
                return heard
            return self._take(heard)
        except Malformed as fault:
            self._let_go()
            raise self._accuse(fault) from fault

    def _take(self, heard: PlainAnswer) -> RuntimeEvent:
        answer = decode_answer(self._ask, *heard)
        if isinstance(answer, Invocation):
            if not self._lifecycle.invocable:
                raise Malformed("expected no invocation while the environment holds another")
            self._lifecycle.invoked(answer)
        elif self._holds:
            self._lifecycle.answered(self._ask, self._request_id, type(answer))
        self._holds = False
        return answer

    def _let_go(self) -> None:
        """The connection is over: what it held of the environment is over too."""
        if self._holds:
            self._lifecycle.answered(self._ask, self._request_id, ConnectionClosed)
            self._holds = False


def require_legal(lifecycle: StandardLifecycle, event: Request) -> str:
    """Return the request id of what may be said now in the life of an environment, on whichever connection.

    Raises:
        LocalProtocolError: The service would refuse it. Nothing changed.
    """
    request_id: str = getattr(event, "request_id", "")
    refusal = lifecycle.judge(type(event), request_id, "")
    if refusal is not None:
        raise LocalProtocolError(f"{type(event).__name__} would be refused: {refusal.error_message}")
    return request_id


def _encode_end(event: ResponseFinished | ResponseFailed) -> bytes:
    if isinstance(event, ResponseFinished):
        return encode_end()
    from lambda_wire._error_payload import encode_trailers

    return encode_end(encode_trailers(event.error_type, event.error_body))

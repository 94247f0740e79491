"""The one answer to one invocation, and what becomes of it.

Whoever answers (the value that the handler returned, its generator, its writer, its exception) goes through one
``Answer``, which knows how far the answer has come. So an error is reported where it still can be: to ``/error`` before
the first byte, in trailers after it, in the log after the end. And nothing is ever posted twice: an answer that was
begun is never begun again, and one that was ended is ended, whether the service took it or not. Only while nobody
takes the connection for it, so that nothing was sent, it is tried again.

A handler may answer from several threads: what they say goes out one after the other, and whoever comes while another
speaks waits until that is over. So does the runtime, before it polls again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from threading import RLock
from time import sleep
from typing import Final, TypeVar

from lambda_wire import _names as names
from lambda_wire._error_payload import MAX_TRAILER_DOCUMENT, ErrorPayload, encode_error, error_type_header
from lambda_wire._errors import ConnectionLost, LocalProtocolError, ProtocolError, StreamInterrupted
from lambda_wire._events import Accepted, Invocation, Refused
from lambda_wire._fields import is_bytes_like
from lambda_wire._prelude import DELIMITER, Prelude, encode_prelude
from lambda_wire._types import BytesLike
from lambda_wire.bootstrap.failures import cause, describe, log_failure, log_line, refusal
from lambda_wire.sync import ResponseStream, Runtime

__all__ = ["Answer"]

_T = TypeVar("_T")

#: What the way to the service may raise. What the handler raises is handled elsewhere.
_ON_THE_WAY: Final = (ConnectionLost, ProtocolError, StreamInterrupted)
#: How long to wait before each try to dial again.
_BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)


class _State(Enum):
    """How far an answer has come."""

    UNBEGUN = "UNBEGUN"
    OPEN = "OPEN"
    """Its stream has begun."""
    ENDED = "ENDED"
    """Nothing more can be said: its end was, or is being said, or the service did not take what was said."""


class Answer:
    """What has been said, and may still be said, in answer to ``invocation``.

    Attributes:
        saying: Held while something is said. Whoever decides by what was said before holds it while he does.
        request_id: Of the invocation.
        content_type: Of the stream, until it has begun.
        claimed: Whether a response writer was handed out.
        unanswerable: Whether the service does not know the invocation that it gave us: it will give it again.
    """

    def __init__(self, runtime: Runtime, invocation: Invocation) -> None:
        self._runtime = runtime
        self._invocation: Invocation | None = invocation
        self._stream: ResponseStream | None = None
        self._state = _State.UNBEGUN
        self._interruption: Exception | None = None
        self._reported: BaseException | None = None
        self._broken_off: BaseException | None = None
        self.saying: RLock = RLock()
        self.request_id: str = invocation.request_id
        self.content_type: str = names.OCTET_STREAM
        self.claimed: bool = False
        self.unanswerable: bool = False

    @property
    def invocation(self) -> Invocation:
        """What is answered; not after ``close``."""
        assert self._invocation is not None
        return self._invocation

    @property
    def begun(self) -> bool:
        """Whether the service has been told anything. Waits for nobody: what another says meanwhile counts."""
        return self._state is not _State.UNBEGUN

    @property
    def ended(self) -> bool:
        """Whether nothing more can be said. Waits for nobody, as ``begun``."""
        return self._state is _State.ENDED

    def respond(self, payload: BytesLike, content_type: str) -> None:
        """Give the whole response at once.

        Raises:
            LocalProtocolError: The response has begun.
            StreamInterrupted, ConnectionLost, ProtocolError: As ``write``.
        """
        with self.saying:
            self._require_unbegun()
            self._end(lambda: self._runtime.respond(self.invocation, payload, content_type=content_type))

    def send_prelude(self, prelude: Prelude) -> None:
        """Begin an HTTP response: the metadata leaves now, in a write of its own.

        JSON and delimiter are two chunks: one widely used emulator looks for a chunk that is the delimiter.

        Raises:
            Malformed: It is too large. Nothing was sent.
            LocalProtocolError: The response has begun.
            StreamInterrupted, ConnectionLost, ProtocolError: As ``write``.
        """
        encoded = encode_prelude(prelude)
        with self.saying:
            self._require_unbegun()
            self.content_type = names.HTTP_INTEGRATION_RESPONSE
            self._start(encoded.removesuffix(DELIMITER), DELIMITER)

    def write(self, data: BytesLike | str) -> None:
        """Send bytes or text at once; the first of it begins the stream. Nothing is sent for empty data.

        Raises:
            TypeError: It is neither bytes nor text.
            StreamInterrupted, ConnectionLost, ProtocolError: The stream cannot go on; this was logged. Stop producing.
            LocalProtocolError: The response is complete.
        """
        chunk = _as_bytes(data)
        with self.saying:
            self._require_open()
            stream = self._stream
            if not chunk:
                return
            if stream is None:
                self._start(chunk)
            else:
                self._say(lambda: stream.write(chunk))

    def finish(self) -> None:
        """Complete the stream. One that had no data is an empty stream.

        Raises:
            StreamInterrupted, ConnectionLost, ProtocolError: As ``write``, when it had not begun.
            LocalProtocolError: The response is complete already.
        """
        with self.saying:
            self._require_open()
            if self._broken_off is not None:
                self.fail(self._broken_off)
                return
            stream = self._stream or self._start()
            self._end(stream.finish)

    def conclude(self) -> None:
        """Complete the stream, unless that was done, or it was cut.

        Raises:
            StreamInterrupted, ConnectionLost, ProtocolError: As ``finish``.
        """
        with self.saying:
            if not self.ended:
                self.finish()

    def break_off(self, fault: BaseException) -> None:
        """Take note that the rest of the stream is not coming: it may not end as if it were whole.

        Whoever ends it says why; who would finish it ends it with ``fault``.
        """
        with self.saying:
            self._broken_off = fault

    def fail(self, fault: BaseException, *, patience_s: float = -1) -> None:
        """Report that the handler failed, where it can still be reported, and log it; the same failure only once.

        Args:
            fault: Why.
            patience_s: How long to wait for another who speaks, until he is left to it; -1 is for ever.
        """
        if fault is self._interruption or fault is self._reported:
            return
        self._reported = fault
        error = describe(fault)
        log_failure(error)
        if not self.saying.acquire(timeout=patience_s):
            log_line(f"the response to {self.request_id} is still being sent: its caller is not told")
            return
        try:
            if self.ended:
                log_line(f"the response to {self.request_id} had ended before: its caller is not told")
            else:
                self._report(fault, error)
        finally:
            self.saying.release()

    def close(self) -> None:
        """Wait for whoever speaks. Then nothing more can be said, and all is let go of, the event above all."""
        with self.saying:
            self._state = _State.ENDED
            self._stream = self._invocation = None
            self.forget_faults()

    def forget_faults(self) -> None:
        """Let go of what was raised: its traceback holds all that the handler held, the event above all."""
        self._reported = self._broken_off = self._interruption = None

    def _report(self, fault: BaseException, error: ErrorPayload) -> None:
        error_type, stream = error_type_header(error.error_type), self._stream
        if stream is None:
            document, xray_cause = encode_error(error), cause(fault)
            self._end(
                lambda: self._runtime.report_error(
                    self.invocation, error_type=error_type, payload=document, xray_cause=xray_cause
                )
            )
        else:
            document = encode_error(error, max_bytes=MAX_TRAILER_DOCUMENT)
            self._end(lambda: stream.fail(error_type=error_type, error_body=document))

    # -- with ``saying`` held

    def _require_open(self) -> None:
        if self._interruption is not None:
            raise self._interruption
        if self.ended:
            raise LocalProtocolError("the response is complete: nothing can be added to it")

    def _require_unbegun(self) -> None:
        self._require_open()
        if self.begun:
            raise LocalProtocolError("the response has begun: it cannot begin again")

    def _start(self, *chunks: BytesLike) -> ResponseStream:
        self._state = _State.OPEN  # also for those who look while the head leaves
        try:
            stream = self._stream = self._say(
                lambda: self._runtime.stream(self.invocation, *chunks, content_type=self.content_type)
            )
        finally:
            if self._stream is None and not self.ended:
                self._state = _State.UNBEGUN
        return stream

    def _say(self, post: Callable[[], _T]) -> _T:
        """Send a part; when that fails, the response is over."""
        try:
            return _dialled(post)
        except _ON_THE_WAY as fault:
            self._state, self._interruption = _State.ENDED, fault
            reason = str(fault)
            if isinstance(fault, StreamInterrupted) and isinstance(fault.answer, Refused):
                reason = f"the service refused the rest of it with {refusal(fault.answer)}"
            log_line(f"the streamed response to {self.request_id} was cut short: {reason}")
            raise

    def _end(self, post: Callable[[], Accepted | Refused]) -> None:
        """Send what ends the answer. Whatever comes of it, the loop goes on: the service has had its say."""
        before, self._state = self._state, _State.ENDED
        try:
            verdict = _dialled(post)
        except _ON_THE_WAY as fault:
            log_line(f"the answer to {self.request_id} may not have arrived: {fault}")
        except Exception:  # of what was to be said: nothing was sent
            self._state = before
            raise
        else:
            if isinstance(verdict, Refused):
                self.unanswerable = verdict.error_type == names.INVALID_REQUEST_ID
                log_line(f"the answer to {self.request_id} was refused with {refusal(verdict)}")


def _dialled(post: Callable[[], _T]) -> _T:
    """Post it; again, a few times, while the service cannot be reached."""
    for wait_s in _BACKOFF_S:
        try:
            return post()
        except ConnectionLost as fault:
            if not fault.nothing_sent:
                raise
        sleep(wait_s)
    return post()


def _as_bytes(data: object) -> BytesLike:
    if isinstance(data, str):
        return data.encode()
    if is_bytes_like(data):
        return data
    raise TypeError(f"a streamed body is made of bytes or str, got {type(data).__name__}")

"""The law in motion: the state that several connections share.

A connection is one TCP connection; an environment may use several and outlives each. Both ends consult the same tables
through these objects, so neither is stricter with the other than with itself. In standard mode each end keeps one
``StandardLifecycle`` per environment. In managed-instances mode the service's end keeps one ``ManagedLifecycle`` per
environment, and the runtime's end one ``StandardLifecycle`` per slot: each polls, answers and polls again, as if alone.

A runtime that kept one ``ManagedLifecycle`` for all its slots would accuse a service that does no wrong. The service
lets an attempt expire without telling the runtime, and may then hand out the same request id with a new invocation id,
while another slot still works on the first attempt. The late answer is told apart by its invocation id, which only the
service judges (410).
"""

from __future__ import annotations

from lambda_wire import _names as names
from lambda_wire._events import (
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Refused,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
)
from lambda_wire._state import ATTEMPTS, LIFECYCLE, Attempt, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol
else:
    from lambda_wire._typing import Protocol

__all__ = ["NOT_FOUND", "TOO_LATE", "Lifecycle", "ManagedLifecycle", "StandardLifecycle", "too_large"]

#: What the service calls the state that a refused request would have led to.
_TARGETS: Final[dict[type, State]] = {
    NextAsked: State.READY,
    BufferedResponse: State.INVOCATION_RESPONSE,
    ResponseStarted: State.INVOCATION_RESPONSE,
    ErrorReported: State.INVOCATION_ERROR_RESPONSE,
    InitErrorReported: State.INIT_ERROR,
    RestoreAsked: State.READY,
    RestoreErrorReported: State.RESTORE_ERROR,
}
_ANSWERS_AN_INVOCATION: Final = (BufferedResponse, ResponseStarted, ErrorReported)
_OF_SNAP_START: Final = (RestoreAsked, RestoreErrorReported)

_RUNNING: Final = State.RUNNING  # see ``_turns``
_RESPONSE_SENT: Final = State.RESPONSE_SENT

#: How many late invocations are remembered (LI-COUNT-2).
_MOST_EXPIRED: Final = 1000

NOT_FOUND: Final = Refused(status=404, error_message="404 page not found")
_UNKNOWN_ID: Final = Refused(status=400, error_type=names.INVALID_REQUEST_ID, error_message="Invalid request ID")
TOO_LATE: Final = Refused(status=410, error_type=names.INVOKE_TIMEOUT, error_message="Invoke timeout")


def too_large(limit: int) -> Refused:
    """Return what the service says of a response or an error document above the limit, in bytes."""
    return Refused(
        status=413,
        error_type=names.REQUEST_ENTITY_TOO_LARGE,
        error_message=f"Exceeded maximum allowed payload size ({limit} bytes).",
    )


def _not_allowed(state: State, ask: type, reason: str) -> Refused:
    change = f"State transition from {state.value} to {_TARGETS[ask].value}"
    return Refused(
        status=403,
        error_type=names.INVALID_STATE_TRANSITION,
        error_message=f"{change} failed for runtime. Error: {reason}",
    )


class Lifecycle(Protocol):
    """What a connection asks of its environment."""

    def judge(self, ask: type, request_id: str, invocation_id: str) -> Refused | None:
        """Return what the service answers to an ``ask`` that is not allowed now; ``None`` when it is.

        To judge changes nothing: what comes of it is noted by ``asked`` or ``refused``.
        """

    def refused(self, ask: type, request_id: str) -> None:
        """Take note of an ``ask`` that was judged and not allowed."""

    def asked(self, ask: type, request_id: str) -> None:
        """Take note of an allowed ``ask``."""

    def answered(self, ask: type, request_id: str, answer: type) -> None:
        """Take note of how an allowed ``ask`` was answered, or that its connection closed.

        Polls and pings hold nothing.
        """

    def mode_refused(self, request_id: str) -> None:
        """Take note that a response began with a response mode that does not exist."""

    def may_invoke(self, request_id: str) -> bool:
        """Say whether a poll may be answered with this invocation now."""
        ...  # noqa: PIE790  # checkers want it

    def invoked(self, invocation: Invocation) -> None:
        """Take note of the invocation that answered a poll."""


class StandardLifecycle:
    """One environment in standard mode, or one slot of a runtime: one invocation at a time, every request in order.

    Attributes:
        state: Where the environment is in ``LIFECYCLE``.
        request_id: The invocation that may be answered; empty before the first and after the next poll.

    Args:
        snap_start: Whether the environment was made to be snapshotted. If not, the restore endpoints are 404.
    """

    def __init__(self, *, snap_start: bool = False) -> None:
        self._snap_start = snap_start
        self.state: State = State.STARTED
        self.request_id: str = ""

    def judge(self, ask: type, request_id: str, invocation_id: str) -> Refused | None:  # noqa: ARG002
        """Return what the service answers to an ``ask`` that is not allowed now.

        The id is checked before the state, so a wrong id is 400 and never 403. ``invocation_id`` is not checked in
        this mode (RT-RESP-9).
        """
        if ask is PingAsked:
            return None
        if ask in _OF_SNAP_START and not self._snap_start:
            return NOT_FOUND
        if ask in _ANSWERS_AN_INVOCATION and (not request_id or request_id != self.request_id):
            return _UNKNOWN_ID
        if ask not in LIFECYCLE[self.state]:
            return _not_allowed(self.state, ask, "State transition is not allowed")
        return None

    def refused(self, ask: type, request_id: str) -> None:
        """Take note of an ``ask`` that was not allowed: nothing happened."""

    def asked(self, ask: type, request_id: str) -> None:  # noqa: ARG002
        """Take note of an allowed ``ask``."""
        if ask is PingAsked:
            return
        if ask is NextAsked and self.state is _RESPONSE_SENT:
            self.request_id = ""
        self.state = LIFECYCLE[self.state][ask]

    def answered(self, ask: type, request_id: str, answer: type) -> None:  # noqa: ARG002
        """Take note of how an allowed ``ask`` was answered, or that its connection closed.

        Polls and pings hold nothing.
        """
        if ask not in (NextAsked, PingAsked):
            self.state = LIFECYCLE[self.state][answer]

    def mode_refused(self, request_id: str) -> None:
        """Take note of a response mode that does not exist: the environment is held for ever (RT-RESP-7)."""

    @property
    def invocable(self) -> bool:
        """Whether a poll may bring an invocation now, whichever.

        A slot that polls while it holds one has given that up; its service then hands out another (RT-MANAGED-15).
        """
        return Invocation in LIFECYCLE[self.state]

    def may_invoke(self, request_id: str) -> bool:
        """Say whether a poll may be answered with this invocation now: while one runs, only with the same again."""
        return self.invocable and (self.state is not _RUNNING or request_id == self.request_id)

    def invoked(self, invocation: Invocation) -> None:
        """Take note of the invocation that answered a poll."""
        self.state = LIFECYCLE[self.state][Invocation]
        self.request_id = invocation.request_id


class ManagedLifecycle:
    """One environment in managed-instances mode, as the service sees it: many invocations, each with its own order.

    Attributes:
        attempts: Every invocation handed out and not yet forgotten, by request id.
    """

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}
        self._invocation_ids: dict[str, str] = {}
        self._expired: dict[str, None] = {}
        """Those whose deadline has passed, the oldest first."""
        self._init_error = False

    def judge(self, ask: type, request_id: str, invocation_id: str) -> Refused | None:
        """Return what the service answers to an ``ask`` that is not allowed now.

        Polls are always allowed. Illegal answers are 400; one that echoes another attempt's invocation id is 410. An
        answer after the deadline is 410, until it is ``refused``, and 400 after that.
        """
        if ask in _OF_SNAP_START:
            return NOT_FOUND
        if ask is InitErrorReported and self._init_error:
            return _not_allowed(State.INIT_ERROR, ask, "state transition is not allowed")
        if ask not in _ANSWERS_AN_INVOCATION:
            return None
        attempt = self.attempts.get(request_id)
        if attempt is Attempt.EXPIRED:
            return TOO_LATE
        if attempt is None or ask not in ATTEMPTS[attempt]:
            return _UNKNOWN_ID
        expected = self._invocation_ids[request_id]
        if invocation_id and expected and invocation_id != expected:
            return TOO_LATE
        return None

    def refused(self, ask: type, request_id: str) -> None:
        """Take note of an ``ask`` that was not allowed: an answer after the deadline consumes the invocation."""
        if ask in _ANSWERS_AN_INVOCATION and self.attempts.get(request_id) is Attempt.EXPIRED:
            self._forget(request_id)

    def asked(self, ask: type, request_id: str) -> None:
        """Take note of an allowed ``ask``."""
        if ask is InitErrorReported:
            self._init_error = True
        elif ask in _ANSWERS_AN_INVOCATION:
            self.attempts[request_id] = ATTEMPTS[self.attempts[request_id]][ask]

    def answered(self, ask: type, request_id: str, answer: type) -> None:
        """Take note of how an allowed ``ask`` was answered, or that its connection closed; then forget the id."""
        if ask in _ANSWERS_AN_INVOCATION and ATTEMPTS[self.attempts[request_id]][answer] is Attempt.ANSWERED:
            self._forget(request_id)

    def mode_refused(self, request_id: str) -> None:
        """Take note of a response mode that does not exist: the invocation is over (RT-RESP-7)."""
        self._forget(request_id)

    def may_invoke(self, request_id: str) -> bool:
        """Say whether a poll may be answered with this invocation now: unless it runs already (RT-MANAGED-11)."""
        return self.attempts.get(request_id, Attempt.EXPIRED) is Attempt.EXPIRED

    def invoked(self, invocation: Invocation) -> None:
        """Take note of the invocation that answered a poll."""
        self._expired.pop(invocation.request_id, None)
        self.attempts[invocation.request_id] = Attempt.RUNNING
        self._invocation_ids[invocation.request_id] = invocation.invocation_id

    def expire(self, request_id: str) -> None:
        """Let the deadline of an invocation pass. An answer that has begun may still end (RT-MANAGED-6)."""
        if self.attempts.get(request_id) is Attempt.RUNNING:
            self.attempts[request_id] = Attempt.EXPIRED
            self._expired[request_id] = None
            if len(self._expired) > _MOST_EXPIRED:
                self._forget(next(iter(self._expired)))

    def _forget(self, request_id: str) -> None:
        del self.attempts[request_id], self._invocation_ids[request_id]
        self._expired.pop(request_id, None)

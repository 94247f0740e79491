"""The law: every transition of every role, as data. Code looks up; it never decides.

Three tables, none of which knows which end is asking:

* ``LIFECYCLE``: one execution environment in standard (single-concurrency) mode.
* ``ATTEMPTS``: one invocation in managed-instances (multi-concurrency) mode, where the environment itself has no order.
* ``TURNS``: one HTTP/1.1 connection of any role, on which requests and answers alternate.

A response or an error holds the environment from its first byte until the service has answered it. A poll or a ping
does not hold it, so how they end is no row of ``LIFECYCLE``. State values are the service's own names: they appear in
its 403 documents.

Source: the emulator of aws-sam-cli 1.170.0, its state machine internal/lambda/core/states.go, and recorded behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    Refused,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias, TypeVar
else:
    from lambda_wire._typing import TypeVar


__all__ = ["ATTEMPTS", "LIFECYCLE", "TURNS", "Act", "Attempt", "State", "Table", "Turn"]

_S = TypeVar("_S")
if TYPE_CHECKING:
    Table: TypeAlias = Mapping[_S, Mapping[type, _S]]
else:
    Table = Mapping  # which takes parameters, too


class State(Enum):
    """What an execution environment is doing; values are the service's names."""

    STARTED = "Started"
    INIT_ERROR = "InitError"
    READY = "Ready"
    RUNNING = "Running"
    INVOCATION_RESPONSE = "InvocationResponse"
    INVOCATION_ERROR_RESPONSE = "InvocationErrorResponse"
    RESPONSE_SENT = "RuntimeResponseSentState"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    RESTORE_ERROR = "RuntimeRestoreErrorState"

    if not TYPE_CHECKING:  # each is one object: the hash of Enum is Python code
        __hash__ = object.__hash__


LIFECYCLE: Final[Table[State]] = {
    State.STARTED: {
        NextAsked: State.READY,
        InitErrorReported: State.INIT_ERROR,
        RestoreAsked: State.RESTORE_READY,
    },
    State.INIT_ERROR: {
        Accepted: State.INIT_ERROR,
        Refused: State.INIT_ERROR,
        ConnectionClosed: State.INIT_ERROR,
    },
    State.READY: {
        NextAsked: State.READY,
        Invocation: State.RUNNING,
    },
    State.RUNNING: {
        NextAsked: State.RUNNING,  # the service sends the same event again
        Invocation: State.RUNNING,
        BufferedResponse: State.INVOCATION_RESPONSE,
        ResponseStarted: State.INVOCATION_RESPONSE,
        ErrorReported: State.INVOCATION_ERROR_RESPONSE,
    },
    State.INVOCATION_RESPONSE: {
        Accepted: State.RESPONSE_SENT,
        Refused: State.RESPONSE_SENT,
        ConnectionClosed: State.RESPONSE_SENT,  # its fate is unknown: it is never posted twice
    },
    State.INVOCATION_ERROR_RESPONSE: {
        Accepted: State.RESPONSE_SENT,
        Refused: State.RESPONSE_SENT,
        ConnectionClosed: State.RESPONSE_SENT,
    },
    State.RESPONSE_SENT: {
        NextAsked: State.READY,
    },
    State.RESTORE_READY: {
        RestoreReady: State.RESTORING,
        Refused: State.STARTED,  # a service without SnapStart answers 404: go on as if never asked
        ConnectionClosed: State.STARTED,
    },
    State.RESTORING: {
        NextAsked: State.READY,
        InitErrorReported: State.RESTORE_ERROR,
        RestoreErrorReported: State.RESTORE_ERROR,
    },
    State.RESTORE_ERROR: {
        Accepted: State.RESTORE_ERROR,
        Refused: State.RESTORE_ERROR,
        ConnectionClosed: State.RESTORE_ERROR,
    },
}


class Attempt(Enum):
    """What happened to one invocation in managed-instances mode."""

    RUNNING = "RUNNING"
    ANSWERING = "ANSWERING"
    ANSWERED = "ANSWERED"
    EXPIRED = "EXPIRED"

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


ATTEMPTS: Final[Table[Attempt]] = {
    Attempt.RUNNING: {
        BufferedResponse: Attempt.ANSWERING,
        ResponseStarted: Attempt.ANSWERING,
        ErrorReported: Attempt.ANSWERING,
    },
    Attempt.ANSWERING: {
        Accepted: Attempt.ANSWERED,
        Refused: Attempt.ANSWERED,
        ConnectionClosed: Attempt.ANSWERED,
    },
    Attempt.ANSWERED: {},
    Attempt.EXPIRED: {},
}


class Turn(Enum):
    """Whose turn it is on one connection."""

    IDLE = "IDLE"
    SENDING = "SENDING"
    """A request is under way."""
    AWAITING = "AWAITING"
    """The request is complete; its answer is due."""
    ANSWERING = "ANSWERING"
    """The answer is under way."""
    OVERTAKEN = "OVERTAKEN"
    """The answer is under way before its request is complete. No other request follows (RFC 9112, 9.3)."""
    LAST_ANSWER = "LAST_ANSWER"
    """The answer is under way, and no other request follows."""
    CUT = "CUT"
    """The last answer is complete."""
    CLOSED = "CLOSED"

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


class Act(Enum):
    """What happens on one connection, whoever does it."""

    REQUEST_STARTED = "REQUEST_STARTED"
    REQUEST_PART = "REQUEST_PART"
    REQUEST_ENDED = "REQUEST_ENDED"
    """It is complete, or no more of it is read."""
    INTERIM = "INTERIM"
    """``100 Continue`` (RFC 9110, 15.2)."""
    ANSWER_STARTED = "ANSWER_STARTED"
    LAST_ANSWER_STARTED = "LAST_ANSWER_STARTED"
    """As before, and it says that the connection will be closed."""
    ANSWER_PART = "ANSWER_PART"
    ANSWER_ENDED = "ANSWER_ENDED"
    CONNECTION_CLOSED = "CONNECTION_CLOSED"

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


TURNS: Final[Mapping[Turn, Mapping[Act, Turn]]] = {
    Turn.IDLE: {
        Act.REQUEST_STARTED: Turn.SENDING,
        Act.ANSWER_STARTED: Turn.LAST_ANSWER,  # to a request that could not be read
        Act.LAST_ANSWER_STARTED: Turn.LAST_ANSWER,
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.SENDING: {
        Act.REQUEST_PART: Turn.SENDING,
        Act.REQUEST_ENDED: Turn.AWAITING,
        Act.INTERIM: Turn.SENDING,
        Act.ANSWER_STARTED: Turn.OVERTAKEN,
        Act.LAST_ANSWER_STARTED: Turn.OVERTAKEN,
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.AWAITING: {
        Act.INTERIM: Turn.AWAITING,
        Act.ANSWER_STARTED: Turn.ANSWERING,
        Act.LAST_ANSWER_STARTED: Turn.LAST_ANSWER,
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.ANSWERING: {
        Act.ANSWER_PART: Turn.ANSWERING,
        Act.ANSWER_ENDED: Turn.IDLE,
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.OVERTAKEN: {
        Act.REQUEST_PART: Turn.OVERTAKEN,
        Act.REQUEST_ENDED: Turn.LAST_ANSWER,
        Act.ANSWER_PART: Turn.OVERTAKEN,
        Act.ANSWER_ENDED: Turn.CUT,
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.LAST_ANSWER: {
        Act.ANSWER_PART: Turn.LAST_ANSWER,
        Act.ANSWER_ENDED: Turn.CUT,
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.CUT: {
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
    Turn.CLOSED: {
        Act.CONNECTION_CLOSED: Turn.CLOSED,
    },
}

"""What is wrong with a request that the service refuses: the rule that it breaks, what was expected, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._events import (
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Refused,
    RestoreErrorReported,
)
from lambda_wire._invoke_asks import too_large as event_too_large
from lambda_wire._invoke_events import InvokeRefused
from lambda_wire._lifecycle import too_large
from lambda_wire._record import record
from lambda_wire._state import State

__all__ = ["BODY", "PLAIN", "Broken", "broken_by", "shown"]

BODY: Final = "(body)"
"""Where a field would stand, this is the body."""

#: The rules for refusals without a document, by their status.
PLAIN: Final[Mapping[int, str]] = {
    400: "RT-CONN-16",
    404: "RT-PATH-2",
    405: "RT-PATH-3",
    417: "RT-CONN-20",
    431: "LI-HEAD-1",
    501: "RT-CONN-21",
    505: "RT-CONN-15",
}


@record
class Broken:
    """A rule that a request breaks."""

    rule: str
    expected: str
    field: str = ""
    """Whose line is wrong, or ``BODY``; empty for the request as a whole."""


_BY_TYPE: Final[Mapping[str, Broken]] = {
    names.INVALID_REQUEST_ID: Broken(rule="RT-PATH-7", expected="the id of an invocation that has no answer yet"),
    names.INVALID_FUNCTION_RESPONSE_MODE: Broken(
        rule="RT-RESP-6", expected="the response mode streaming or none", field=names.FUNCTION_RESPONSE_MODE
    ),
    names.TRUNCATED_HTTP_REQUEST: Broken(rule="RT-RESP-14", expected="a whole body", field=BODY),
    names.INVOKE_TIMEOUT: Broken(rule="RT-MANAGED-6", expected="an answer to this attempt before its deadline"),
    names.INVALID_PARAMETER_VALUE: Broken(
        rule="IN-ASK-9", expected="an invocation type that there is", field=names.X_AMZ_INVOCATION_TYPE
    ),
    names.INVALID_REQUEST_CONTENT: Broken(
        rule="IN-ASK-11", expected="a client context of JSON in base64", field=names.X_AMZ_CLIENT_CONTEXT
    ),
}
#: The rules for a body that is too large, by what it is of.
_SIZES: Final[Mapping[type | None, str]] = {
    BufferedResponse: "RT-RESP-13",
    ErrorReported: "LI-ERROR-1",
    InitErrorReported: "LI-ERROR-1",
    RestoreErrorReported: "LI-ERROR-1",
}
_OPEN: Final = (State.INVOCATION_RESPONSE, State.INVOCATION_ERROR_RESPONSE)
_ANSWERED: Final = (*_OPEN, State.RESPONSE_SENT)
_HELD: Final = Broken(rule="RT-RESP-7", expected="no request after a response mode that was refused")
#: Present states, the states that a request would have led to, and what it breaks then; the first that fits.
_TRANSITIONS: Final[tuple[tuple[tuple[State, ...], tuple[State, ...], Broken], ...]] = (
    (_ANSWERED, _OPEN, Broken(rule="RT-RESP-15", expected="no second answer to an invocation")),
    (
        _OPEN,
        (State.READY,),
        Broken(rule="RT-RESP-12", expected="no poll before a report is answered, or cut (RT-RESP-14)"),
    ),
    (
        tuple(State),
        (State.INIT_ERROR,),
        Broken(rule="RT-INIT-4", expected="one report of a failed start, before the first poll"),
    ),
    ((State.INIT_ERROR,), tuple(State), Broken(rule="ER-EXIT-8", expected="no request after a failed start")),
    (
        tuple(State),
        (State.RESTORE_ERROR,),
        Broken(rule="RT-RESTORE-8", expected="one restore error, between the restore and the first poll"),
    ),
    ((State.RESTORE_ERROR,), tuple(State), Broken(rule="RT-RESTORE-7", expected="no request after a restore error")),
)
_ILLEGAL: Final = Broken(rule="RT-STATE-2", expected="a request that is legal in this state")
_STATES: Final[Mapping[str, State]] = {state.value: state for state in State}


def broken_by(
    ask: type | None, reply: Refused | InvokeRefused, *, streaming: bool = False, held: bool = False
) -> Broken | None:
    """Return what a request breaks that is refused so; ``None`` when that says nothing of it.

    Args:
        ask: What it asks.
        reply: What the service says.
        streaming: Whether it is InvokeWithResponseStream.
        held: Whether a response mode was refused before.
    """
    match reply.error_type:
        case names.INVALID_STATE_TRANSITION if isinstance(reply, Refused):
            return _transition(reply.error_message, held)
        case names.REQUEST_ENTITY_TOO_LARGE:
            rule = "LI-STREAM-1" if reply == too_large(limits.MAX_STREAM) else _SIZES.get(ask, "RT-RESP-13")
            return Broken(rule=rule, expected="a smaller body", field=BODY)
        case names.REQUEST_TOO_LARGE:
            asynchronous = reply == event_too_large(limits.MAX_ASYNC_EVENT)
            return Broken(rule="IN-ASK-6" if asynchronous else "IN-ASK-5", expected="a smaller event", field=BODY)
        case names.METHOD_NOT_ALLOWED:
            return Broken(rule="IN-PATH-2" if streaming else "IN-PATH-1", expected="the method POST")
        case "" if reply.status == 404:
            return Broken(rule="RT-PATH-2", expected="a path of the Runtime API")
        case "" if reply.status == 405:
            return Broken(rule="RT-PATH-3", expected="the method of this path")
        case "" if isinstance(reply, InvokeRefused):
            return Broken(rule="FU-EVENT-39", expected="a smaller event", field=BODY)
        case error_type:
            return _BY_TYPE.get(error_type)


def _transition(message: str, held: bool) -> Broken:
    """Choose by the two names in the message (RT-STATE-3)."""
    before, _, after = message.partition(" from ")[2].partition(" failed")[0].partition(" to ")
    state, target = _STATES.get(before), _STATES.get(after)
    if held and state in _OPEN:
        return _HELD
    return next((broken for states, targets, broken in _TRANSITIONS if state in states and target in targets), _ILLEGAL)


def shown(reply: Refused | InvokeRefused) -> str:
    """Return what the service says, in a line."""
    said = reply.error_message if isinstance(reply, Refused) else reply.message
    return ": ".join(filter(None, [f"{reply.status} {reply.error_type}".strip(), said]))

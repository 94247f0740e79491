"""Whose fault it is: each fault can be told from the others, says what happened, and travels whole."""

from __future__ import annotations

import copy
import pickle

import pytest

from lambda_wire import _errors as errors
from lambda_wire._errors import (
    Busy,
    CallFailed,
    CallRefused,
    ConnectionLost,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._events import Accepted, Refused
from lambda_wire._invoke_events import InvokeFailed, InvokeRefused
from lambda_wire._malformed import Malformed

REFUSAL = Refused(status=403, error_type="InvalidStateTransition", error_message="no")
CALL_REFUSAL = InvokeRefused(status=404, error_type="ResourceNotFoundException", message="no function")
FAILURE = InvokeFailed(error_code="InternalFailure", message="sorry")
FAULTS: list[Exception] = [
    ProtocolError("p"),
    LocalProtocolError("l"),
    RemoteProtocolError("r"),
    RemoteProtocolError("r", reply=REFUSAL),
    ConnectionLost("c"),
    ConnectionLost("c", nothing_sent=True),
    Busy("b"),
    CallFailed(FAILURE),
    CallRefused(CALL_REFUSAL),
    RequestRefused(REFUSAL),
    StreamInterrupted(None),
    StreamInterrupted(Accepted()),
    StreamInterrupted(REFUSAL),
]


def test_every_fault_is_tried_here() -> None:
    """``__all__`` is the list of faults."""
    assert sorted(errors.__all__) == sorted({type(fault).__name__ for fault in FAULTS})


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_only_protocol_faults_are_protocol_errors(fault: Exception) -> None:
    """Someone broke the protocol, or something else went wrong. None is ``Malformed``, which accuses nobody."""
    blamed = isinstance(fault, (LocalProtocolError, RemoteProtocolError)) or type(fault) is ProtocolError
    assert isinstance(fault, ProtocolError) is blamed
    assert not isinstance(fault, (Malformed, ValueError, OSError))
    assert not (isinstance(fault, LocalProtocolError) and isinstance(fault, RemoteProtocolError))


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_fault_travels_whole(fault: Exception) -> None:
    """To another process, or as a copy: same words, same news."""
    for travelled in (pickle.loads(pickle.dumps(fault)), copy.copy(fault), copy.deepcopy(fault)):
        assert type(travelled) is type(fault)
        assert (str(travelled), repr(travelled), vars(travelled)) == (str(fault), repr(fault), vars(fault))


def test_a_remote_fault_brings_its_answer() -> None:
    """Or none, when nothing can be said."""
    assert RemoteProtocolError("r").reply is None
    assert RemoteProtocolError("r", reply=REFUSAL).reply is REFUSAL
    assert str(RemoteProtocolError("r", reply=REFUSAL)) == "r"


def test_a_lost_connection_says_whether_anything_was_sent() -> None:
    """It is unknown unless whoever raises it knows; copies know it, too."""
    for nothing_sent in (False, True):
        fault = ConnectionLost("c", nothing_sent=nothing_sent)
        travelled = pickle.loads(pickle.dumps(fault)), copy.copy(fault), copy.deepcopy(fault)
        assert [lost.nothing_sent for lost in (fault, *travelled)] == [nothing_sent] * 4
        assert str(fault) == "c"
    assert ConnectionLost("c").nothing_sent is False


def test_a_refused_request_brings_the_refusal() -> None:
    """As a value and in words."""
    fault = RequestRefused(REFUSAL)
    assert fault.refusal is REFUSAL
    assert str(fault) == f"the service refused: {REFUSAL!r}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "closed the connection"), (Accepted(), "answered Accepted()"), (REFUSAL, f"answered {REFUSAL!r}")],
)
def test_an_interrupted_stream_says_how(answer: Accepted | Refused | None, said: str) -> None:
    """By an answer that came early, or without a word."""
    fault = StreamInterrupted(answer)
    assert fault.answer is answer
    assert str(fault) == f"the service {said} before the streamed response was complete"


def test_a_call_that_came_to_nothing_says_why() -> None:
    """In words, and as the event."""
    refused, failed = CallRefused(CALL_REFUSAL), CallFailed(FAILURE)
    assert (refused.refusal, failed.failure) == (CALL_REFUSAL, FAILURE)
    assert str(refused) == "the service refused with 404 ResourceNotFoundException: no function"
    assert str(CallRefused(InvokeRefused(status=404, message="m"))) == "the service refused with 404: m"
    assert str(failed) == "the service ended the answer with InternalFailure: sorry"

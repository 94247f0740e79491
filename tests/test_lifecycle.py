"""The law in motion: what each kind of environment answers to every request, in every state."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Refused,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._lifecycle import NOT_FOUND, Lifecycle, ManagedLifecycle, StandardLifecycle, too_large
from lambda_wire._state import Attempt, State
from tests.capture import Direction, load_all

SPEC = Path(__file__).resolve().parent.parent / "spec" / "states.md"
REQUESTS = {
    ask.__name__: ask
    for ask in (
        NextAsked,
        BufferedResponse,
        ResponseStarted,
        ErrorReported,
        InitErrorReported,
        RestoreAsked,
        RestoreErrorReported,
    )
}
REPORTS = (BufferedResponse, ResponseStarted, ErrorReported)
ENDS = (Accepted, Refused, ConnectionClosed)
UNKNOWN_ID = Refused(status=400, error_type="InvalidRequestID", error_message="Invalid request ID")
TOO_LATE = Refused(status=410, error_type="InvokeTimeout", error_message="Invoke timeout")
#: What is allowed in each state: the emulator's table (states.go), a response standing for its two kinds.
ALLOWED: dict[State, set[type]] = {
    State.STARTED: {NextAsked, InitErrorReported, RestoreAsked},
    State.INIT_ERROR: set(),
    State.READY: {NextAsked},
    State.RUNNING: {NextAsked, BufferedResponse, ResponseStarted, ErrorReported},
    State.INVOCATION_RESPONSE: set(),
    State.INVOCATION_ERROR_RESPONSE: set(),
    State.RESPONSE_SENT: {NextAsked},
    State.RESTORE_READY: set(),
    State.RESTORING: {NextAsked, InitErrorReported, RestoreErrorReported},
    State.RESTORE_ERROR: set(),
}


def invocation(request_id: str = "id-1", invocation_id: str = "") -> Invocation:
    return Invocation(request_id=request_id, payload=b"{}", invocation_id=invocation_id)


def polled(life: StandardLifecycle) -> None:
    life.asked(NextAsked, "")


def given(life: StandardLifecycle) -> None:
    polled(life)
    life.invoked(invocation())


def said(ask: type, answer: type | None = None) -> Callable[[StandardLifecycle], None]:
    def step(life: StandardLifecycle) -> None:
        life.asked(ask, "id-1")
        if answer is not None:
            life.answered(ask, "id-1", answer)

    return step


#: How each state is reached.
WAYS: dict[State, tuple[Callable[[StandardLifecycle], None], ...]] = {
    State.STARTED: (),
    State.INIT_ERROR: (said(InitErrorReported),),
    State.READY: (polled,),
    State.RUNNING: (given,),
    State.INVOCATION_RESPONSE: (given, said(BufferedResponse)),
    State.INVOCATION_ERROR_RESPONSE: (given, said(ErrorReported)),
    State.RESPONSE_SENT: (given, said(ResponseStarted, Accepted)),
    State.RESTORE_READY: (said(RestoreAsked),),
    State.RESTORING: (said(RestoreAsked, RestoreReady),),
    State.RESTORE_ERROR: (said(RestoreAsked, RestoreReady), said(RestoreErrorReported)),
}


def in_state(state: State) -> StandardLifecycle:
    life = StandardLifecycle(snap_start=True)
    for step in WAYS[state]:
        step(life)
    assert life.state is state
    return life


def named_in_a_403() -> dict[str, str]:
    section = SPEC.read_text(encoding="utf-8").split("## `REFUSALS`")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", section, re.MULTILINE))


def not_allowed(state: State, ask: str) -> Refused:
    change = f"State transition from {state.value} to {named_in_a_403()[ask]} failed for runtime."
    return Refused(
        status=403,
        error_type="InvalidStateTransition",
        error_message=f"{change} Error: State transition is not allowed",
    )


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("ask", REQUESTS)
def test_every_request_is_judged_in_every_state(state: State, ask: str) -> None:
    """The whole product: allowed where the emulator allows it, else its 403, and 400 first where the id is unknown.

    (RT-RESP-17, RT-ERR-2, RT-ERR-5, RT-INIT-4, RT-STATE-2, RT-STATE-3, RT-STATE-4, RT-RESTORE-8, RT-RESTORE-10)
    """
    life = in_state(state)
    expected = None if REQUESTS[ask] in ALLOWED[state] else not_allowed(state, ask)
    if REQUESTS[ask] in REPORTS and life.request_id != "id-1":
        expected = UNKNOWN_ID
    assert life.judge(REQUESTS[ask], "id-1", "") == expected
    assert life.state is state, "a judgement changes nothing"


def test_the_specification_names_every_request() -> None:
    """``REFUSALS`` has one row for each request that can be refused."""
    assert set(named_in_a_403()) == set(REQUESTS)


def test_every_403_and_400_of_the_recordings_is_one_of_ours() -> None:
    """Word for word, whatever the state and the request were.

    One is not: in c30 the emulator answers ``/restore/next`` with an invocation, which no service should, and has its
    id in a state where an id is unknown (RT-STATE-3, RT-STATE-5).
    """
    ours = {
        (refusal.status, refusal.error_type, refusal.error_message)
        for state in State
        for ask in REQUESTS.values()
        if (refusal := in_state(state).judge(ask, "id-1", "")) is not None
    }
    recorded = {
        (int(head[9:12]), document["errorType"], document["errorMessage"])
        for capture in load_all()
        for step in capture.steps
        if step.direction is Direction.RECEIVED
        and step.data.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 Bad Request\r"))
        for head, _, body in [step.data.partition(b"\r\n\r\n")]
        if body.startswith(b"{")
        for document in [json.loads(body)]
        if document["errorType"] != "InvalidFunctionResponseMode"  # the service role judges modes
    }
    assert len(recorded & ours) > 10
    quirk = (
        "State transition from Ready to InvocationResponse failed for runtime. Error: State transition is not allowed"
    )
    assert recorded - ours == {(403, "InvalidStateTransition", quirk)}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("ask", REPORTS)
@pytest.mark.parametrize("request_id", ["", "ID-1", "id-10", "id-1 "])
def test_a_wrong_id_is_400_in_every_state(state: State, ask: type, request_id: str) -> None:
    """Never 403, and an empty id is wrong even when no invocation was handed out yet (a30, a32, a40).

    (RT-PATH-7, RT-STATE-1)
    """
    assert in_state(state).judge(ask, request_id, "") == UNKNOWN_ID


def test_an_invocation_id_is_not_looked_at_in_standard_mode() -> None:
    """Whatever is echoed, the request id decides (a59)."""
    assert in_state(State.RUNNING).judge(BufferedResponse, "id-1", "any") is None


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.RESTORE_READY, State.RESTORING, State.RESTORE_ERROR)]
)
@pytest.mark.parametrize("ask", [RestoreAsked, RestoreErrorReported])
def test_without_snap_start_its_endpoints_are_404(state: State, ask: type) -> None:
    """In every state that such an environment can be in (a40; RT-RESTORE-2)."""
    life = StandardLifecycle()
    for step in WAYS[state]:
        step(life)
    assert life.judge(ask, "", "") == NOT_FOUND


@pytest.mark.parametrize("state", State)
def test_a_ping_is_allowed_always_and_moves_nothing(state: State) -> None:
    """Anyone may ask, however often, and lose the connection over it (RT-PING-2)."""
    life = in_state(state)
    assert life.judge(PingAsked, "", "") is None
    life.asked(PingAsked, "")
    life.answered(PingAsked, "", ConnectionClosed)
    assert life.state is state


@pytest.mark.parametrize("state", [state for state in State if NextAsked in ALLOWED[state]])
def test_a_lost_poll_loses_nothing(state: State) -> None:
    """It may be asked again: how a poll ends moves nothing, except that an invocation answers it."""
    life = in_state(state)
    life.asked(NextAsked, "")
    after = life.state
    life.answered(NextAsked, "", ConnectionClosed)
    assert life.state is after
    assert life.judge(NextAsked, "", "") is None
    assert life.may_invoke("id-1")


@pytest.mark.parametrize("state", State)
def test_an_invocation_may_be_handed_out_only_to_a_poll(state: State) -> None:
    """While the runtime is polling, or again while it holds the invocation."""
    assert in_state(state).may_invoke("id-1") is (state in (State.READY, State.RUNNING))


@pytest.mark.parametrize("state", State)
def test_a_poll_may_bring_another_one_to_whoever_holds_one(state: State) -> None:
    """The service may send only the same again; a slot, which has polled, takes what it gets (RT-MANAGED-15)."""
    life = in_state(state)
    assert life.invocable is (state in (State.READY, State.RUNNING))
    assert life.may_invoke("id-2") is (state is State.READY)
    if life.invocable:
        life.invoked(invocation("id-2"))
        assert life.judge(BufferedResponse, "id-1", "") == UNKNOWN_ID
        assert life.judge(BufferedResponse, "id-2", "") is None


@pytest.mark.parametrize("ask", REPORTS)
@pytest.mark.parametrize("answer", ENDS)
def test_a_report_is_over_when_it_is_answered_whatever_the_answer(ask: type, answer: type) -> None:
    """It is never made twice, and the next poll is welcome (RT-ERR-4)."""
    life = in_state(State.RUNNING)
    life.asked(ask, "id-1")
    life.answered(ask, "id-1", answer)
    assert life.state is State.RESPONSE_SENT
    assert life.judge(ask, "id-1", "") == not_allowed(State.RESPONSE_SENT, ask.__name__)
    assert life.judge(NextAsked, "", "") is None


def test_the_next_poll_forgets_the_invocation() -> None:
    """The id is known until then, so that a second answer is told what is wrong with it (a31; RT-NEXT-19)."""
    life = in_state(State.RESPONSE_SENT)
    assert life.request_id == "id-1"
    polled(life)
    assert (life.state, life.request_id) == (State.READY, "")
    assert life.judge(BufferedResponse, "id-1", "") == UNKNOWN_ID


def test_a_poll_while_an_invocation_is_held_gets_it_again() -> None:
    """The id stays what it was (a33; RT-NEXT-20)."""
    life = in_state(State.RUNNING)
    polled(life)
    assert (life.state, life.request_id) == (State.RUNNING, "id-1")
    life.invoked(invocation())
    assert life.judge(BufferedResponse, "id-1", "") is None


@pytest.mark.parametrize("answer", ENDS)
def test_an_init_error_is_final(answer: type) -> None:
    """Reported once, however the report ended; nothing but exit is left (a22; RT-INIT-4)."""
    life = in_state(State.INIT_ERROR)
    life.answered(InitErrorReported, "", answer)
    assert life.state is State.INIT_ERROR


@pytest.mark.parametrize("ask", [InitErrorReported, RestoreErrorReported])
@pytest.mark.parametrize("answer", ENDS)
def test_a_restore_error_is_final(ask: type, answer: type) -> None:
    """An init error that is reported while restoring is one as well (c32; RT-RESTORE-9)."""
    life = in_state(State.RESTORING)
    life.asked(ask, "")
    life.answered(ask, "", answer)
    assert life.state is State.RESTORE_ERROR


@pytest.mark.parametrize("answer", [Refused, ConnectionClosed])
def test_a_service_without_snap_start_sends_the_runtime_back_to_its_start(answer: type) -> None:
    """From there it polls as if it had never asked."""
    life = in_state(State.RESTORE_READY)
    life.answered(RestoreAsked, "", answer)
    assert life.state is State.STARTED


def test_what_is_too_large_is_told_the_limit() -> None:
    """In bytes (a38)."""
    message = "Exceeded maximum allowed payload size (6 bytes)."
    assert too_large(6) == Refused(status=413, error_type="RequestEntityTooLarge", error_message=message)


# -- managed instances


def managed(*invocations: Invocation) -> ManagedLifecycle:
    life = ManagedLifecycle()
    for each in invocations:
        life.invoked(each)
    return life


@pytest.mark.parametrize("life", [StandardLifecycle(), ManagedLifecycle()], ids=["standard", "managed"])
def test_both_kinds_answer_what_a_connection_asks(life: Lifecycle) -> None:
    """One protocol: a connection does not know which kind it has."""
    assert life.judge(NextAsked, "", "") is None
    life.asked(NextAsked, "")
    assert life.may_invoke("id-1")
    life.invoked(invocation())
    assert life.judge(ErrorReported, "id-1", "") is None
    life.asked(ErrorReported, "id-1")
    life.answered(ErrorReported, "id-1", Accepted)
    assert life.judge(ErrorReported, "id-1", "") is not None


@pytest.mark.parametrize("ask", [NextAsked, PingAsked])
def test_polls_and_pings_are_always_allowed_in_managed_mode(ask: type) -> None:
    """The environment as a whole has no order, and neither of them holds anything (RT-MANAGED-5, RT-PING-2)."""
    life = managed(invocation())
    assert life.judge(ask, "", "") is None
    life.asked(ask, "")
    life.answered(ask, "", ConnectionClosed)
    assert life.attempts == {"id-1": Attempt.RUNNING}
    assert life.may_invoke("id-2")


@pytest.mark.parametrize("ask", [RestoreAsked, RestoreErrorReported])
def test_restore_endpoints_are_404_in_managed_mode(ask: type) -> None:
    """There is no SnapStart there (RT-MANAGED-13)."""
    assert ManagedLifecycle().judge(ask, "", "") == NOT_FOUND


def test_an_init_error_is_allowed_once_in_managed_mode() -> None:
    """Even after the first poll; the refusal of the second has a lower-case tail (RT-INIT-4)."""
    life = managed(invocation())
    assert life.judge(InitErrorReported, "", "") is None
    life.asked(InitErrorReported, "")
    life.answered(InitErrorReported, "", Accepted)
    again = "State transition from InitError to InitError failed for runtime. Error: state transition is not allowed"
    refusal = Refused(status=403, error_type="InvalidStateTransition", error_message=again)
    assert life.judge(InitErrorReported, "", "") == refusal
    assert life.attempts == {"id-1": Attempt.RUNNING}, "the environment keeps working"


@pytest.mark.parametrize("first", REPORTS)
@pytest.mark.parametrize("second", REPORTS)
@pytest.mark.parametrize("answer", [None, *ENDS])
def test_each_invocation_is_answered_once_in_managed_mode(first: type, second: type, answer: type | None) -> None:
    """In any order with others; a second answer is 400, while the first is under way and after it (RT-MANAGED-5).

    AWS's code takes an error while a response is under way, and ours does not.
    """
    life = managed(invocation("a"), invocation("b"), invocation("c"))
    assert life.judge(first, "b", "") is None
    life.asked(first, "b")
    if answer is not None:
        life.answered(first, "b", answer)
    assert life.judge(second, "b", "") == UNKNOWN_ID
    assert [life.judge(second, other, "") for other in ("a", "c", "d", "")] == [None, None, UNKNOWN_ID, UNKNOWN_ID]
    assert ("b" in life.attempts) is (answer is None), "what is answered is forgotten: memory is bounded"


@pytest.mark.parametrize("ask", REPORTS)
def test_an_answer_after_the_deadline_is_410_once_in_managed_mode(ask: type) -> None:
    """And 400 after that; other invocations are not touched (RT-MANAGED-6)."""
    life = managed(invocation("a"), invocation("b"))
    life.expire("a")
    assert life.attempts["a"] is Attempt.EXPIRED
    assert [life.judge(ask, "a", "") for _ in range(3)] == [TOO_LATE] * 3
    assert life.attempts == {"a": Attempt.EXPIRED, "b": Attempt.RUNNING}, "a judgement changes nothing"
    life.refused(ask, "a")
    assert life.attempts == {"b": Attempt.RUNNING}
    assert life.judge(ask, "a", "") == UNKNOWN_ID
    life.refused(ask, "a")
    assert life.judge(ask, "a", "") == UNKNOWN_ID


@pytest.mark.parametrize("ask", REPORTS)
@pytest.mark.parametrize("before", [None, *REPORTS])
def test_a_refusal_before_the_deadline_consumes_nothing(ask: type, before: type | None) -> None:
    """Neither an echo of another attempt, nor a second answer while the first is under way."""
    life = managed(invocation("a", "i-1"))
    if before is not None:
        life.asked(before, "a")
    attempts = dict(life.attempts)
    assert life.judge(ask, "a", "i-2") is not None
    life.refused(ask, "a")
    assert life.attempts == attempts


def test_a_refusal_of_what_is_no_answer_consumes_nothing() -> None:
    """Also not an invocation that has expired."""
    life = managed(invocation("a"))
    life.expire("a")
    for ask in (InitErrorReported, RestoreAsked):
        life.refused(ask, "a")
    assert life.attempts == {"a": Attempt.EXPIRED}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("ask", REQUESTS)
def test_a_refusal_moves_nothing_in_standard_mode(state: State, ask: str) -> None:
    """What was not allowed has not happened (RT-STATE-4)."""
    life = in_state(state)
    before = life.request_id
    life.refused(REQUESTS[ask], "id-1")
    assert (life.state, life.request_id) == (state, before)


def test_a_deadline_does_not_reach_an_answer_that_has_begun() -> None:
    """A stream that takes longer than the timeout is accepted at its end (RT-MANAGED-6)."""
    life = managed(invocation())
    life.asked(ResponseStarted, "id-1")
    life.expire("id-1")
    life.answered(ResponseStarted, "id-1", Accepted)
    assert life.attempts == {}


def test_a_deadline_of_an_invocation_that_is_over_means_nothing() -> None:
    """Its clock may ring late; the id stays unknown."""
    life = managed(invocation())
    life.asked(BufferedResponse, "id-1")
    life.answered(BufferedResponse, "id-1", Accepted)
    life.expire("id-1")
    assert life.attempts == {}
    assert life.judge(BufferedResponse, "id-1", "") == UNKNOWN_ID


@pytest.mark.parametrize(
    ("given_id", "echoed", "allowed"),
    [
        ("i-1", "i-1", True),
        ("i-1", "", True),
        ("", "i-1", True),
        ("", "", True),
        ("i-1", "I-1", False),
        ("i-1", "i-2", False),
    ],
)
def test_an_echo_of_another_attempt_is_410_and_consumes_nothing(given_id: str, echoed: str, allowed: bool) -> None:
    """Compared byte for byte, and only when both sides have one; the right echo is accepted afterwards.

    (RT-MANAGED-7)
    """
    life = managed(invocation("a", given_id))
    assert life.judge(BufferedResponse, "a", echoed) == (None if allowed else TOO_LATE)
    assert life.judge(BufferedResponse, "a", given_id) is None


def test_a_request_id_that_is_used_again_is_a_new_attempt() -> None:
    """The late answer of the old one is told apart by its echo."""
    life = managed(invocation("a", "i-1"))
    life.expire("a")
    life.invoked(invocation("a", "i-2"))
    assert life.judge(BufferedResponse, "a", "i-1") == TOO_LATE
    assert life.judge(BufferedResponse, "a", "i-2") is None


def test_an_invocation_that_runs_is_handed_out_again_and_no_other() -> None:
    """Another one would make the first unanswerable: it would be lost."""
    life = in_state(State.RUNNING)
    assert life.may_invoke("id-1")
    assert not life.may_invoke("id-2")


def test_a_managed_invocation_is_handed_out_once() -> None:
    """The service refuses a request id that runs already (observed); after its deadline the id is free again.

    (RT-MANAGED-11)
    """
    life = ManagedLifecycle()
    life.invoked(invocation())
    assert not life.may_invoke("id-1")
    life.expire("id-1")
    assert life.may_invoke("id-1")
    life.invoked(invocation())
    assert life.judge(BufferedResponse, "id-1", "") is None


def test_late_invocations_are_remembered_within_bounds() -> None:
    """A thousand, as the emulator does; the oldest are forgotten first (LI-COUNT-2)."""
    life = ManagedLifecycle()
    for number in range(1001):
        life.invoked(Invocation(request_id=f"id-{number}", payload=b""))
        life.expire(f"id-{number}")
    assert len(life.attempts) == 1000
    assert "id-0" not in life.attempts
    assert life.judge(BufferedResponse, "id-0", "") == UNKNOWN_ID
    assert life.judge(BufferedResponse, "id-1", "") == TOO_LATE


def test_a_response_mode_that_does_not_exist_consumes_a_managed_invocation() -> None:
    """In managed mode the runtime goes on; in standard mode the environment is held for ever (RT-RESP-7)."""
    managed, standard = ManagedLifecycle(), in_state(State.RUNNING)
    managed.invoked(invocation())
    for life in (managed, standard):
        life.asked(ResponseStarted, "id-1")
        life.mode_refused("id-1")
    assert managed.attempts == {}
    assert standard.state is State.INVOCATION_RESPONSE


def test_a_new_environment_has_no_invocation() -> None:
    """Its id is empty before the first."""
    assert StandardLifecycle().request_id == ""


def test_only_late_invocations_are_forgotten() -> None:
    """Not one whose id is used again, and none twice, however many are late after it."""
    life = managed(invocation("again"), invocation("answered"))
    life.expire("again")
    life.invoked(invocation("again"))
    life.expire("answered")
    life.refused(BufferedResponse, "answered")
    for number in range(1001):
        life.invoked(invocation(f"late-{number}"))
        life.expire(f"late-{number}")
    assert life.judge(BufferedResponse, "again", "") is None
    assert len(life.attempts) == 1001

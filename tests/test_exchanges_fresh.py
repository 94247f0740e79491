"""A look before a request or a stream's write is left out when the driver has just read or looked, and never else.

Nor before a connection is used for the first time again: only then is the service known to keep connections.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lambda_wire import exchanges
from lambda_wire._errors import ConnectionLost, LocalProtocolError, StreamInterrupted
from lambda_wire._events import (
    Accepted,
    Answer,
    BufferedResponse,
    Invocation,
    NextAsked,
    ResponseChunk,
    ResponseFinished,
)
from lambda_wire._invoke_events import InvokeAnswered, InvokeAsked
from lambda_wire._wants import Exchange, Want, Write
from tests import test_exchanges_caller as caller
from tests.test_exchanges import INVOCATION, REFUSED, Network, session

Conversation = Callable[[exchanges.RuntimeSession, Invocation], Exchange[object]]

#: On either side of 10 ms.
FRESH_S, STALE_S = 0.0099, 0.01


class Watched(Network):
    """A network that counts the looks.

    Attributes:
        looks: One entry for each: whether something was to be written after it.
    """

    def __init__(self, *answers: Answer | None) -> None:
        super().__init__(*answers)
        self.looks: list[bool] = []

    def do(self, want: Want) -> bytes:
        if isinstance(want, Write) and want.look_first:
            self.looks.append(not want.done)
        return super().do(want)

    def looks_since(self) -> list[bool]:
        """Return the looks since this was asked last."""
        looks, self.looks = self.looks, []
        return looks


def polled(network: Network, held: exchanges.RuntimeSession, quiet_s: float | None = None) -> Invocation:
    """Return the first invocation, on a connection that is kept; from then on the driver has been quiet for so long."""
    invocation = network.run(exchanges.next_invocation(held))
    network.run(held.connect(NextAsked()))
    assert network.dials == 1
    if isinstance(network, Watched):
        network.looks_since()
    if quiet_s is not None:
        held.quiet_s = quiet_s
    return invocation


def in_parts(held: exchanges.RuntimeSession, invocation: Invocation) -> Exchange[object]:
    response = yield from exchanges.start_response(held, invocation, (b"one",))
    yield from exchanges.write_chunks(response, (b"two",))
    return (yield from exchanges.finish_response(response))


def whole(held: exchanges.RuntimeSession, invocation: Invocation) -> Exchange[object]:
    return exchanges.respond(held, invocation, b"1")


def error(held: exchanges.RuntimeSession, invocation: Invocation) -> Exchange[object]:
    return exchanges.report_error(held, invocation, error_type="Function.X", payload=b"{}")


@pytest.mark.parametrize(
    ("conversation", "looks"), [(whole, [False]), (error, [False]), (in_parts, [False, True, True])]
)
def test_a_look_is_wanted_from_the_end_of_freshness_on(conversation: Conversation, looks: list[bool]) -> None:
    """Below it none, in whichever conversation; at it, one before the request and one before each write of a stream."""
    for quiet_s, expected in ((0.0, []), (FRESH_S, []), (STALE_S, looks), (3.0, looks)):
        network, held = Watched(INVOCATION, Accepted(), INVOCATION), session()
        assert network.run(conversation(held, polled(network, held, quiet_s))) == Accepted()
        assert network.looks_since() == expected
        network.run(exchanges.next_invocation(held))
        assert network.looks_since() == expected[:1]
        assert network.dials == 1


def test_a_driver_that_never_says_how_quiet_it_was_always_looks() -> None:
    """What a driver without a clock leaves alone is long ago."""
    network, held = Watched(INVOCATION, Accepted(), INVOCATION), session()
    network.run(in_parts(held, polled(network, held)))
    assert network.looks_since() == [False, True, True]
    network.run(exchanges.next_invocation(held))
    assert network.looks_since() == [False]


def test_a_new_connection_is_dialled_however_fresh_the_last_one_was() -> None:
    """Freshness is worth nothing without a connection that can carry a request."""
    network, held = Watched(INVOCATION), session()
    held.quiet_s = 0.0
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 1
    network, held = Watched(INVOCATION, INVOCATION), session()
    polled(network, held, 0.0)
    held.connection.abandon()
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2


def test_a_connection_is_looked_at_before_it_is_used_again_for_the_first_time() -> None:
    """Once, however fresh it is; and again each connection after it."""
    network, held = Watched(INVOCATION, *(Accepted(), INVOCATION) * 4), session()
    held.quiet_s = 0.0
    invocation = network.run(exchanges.next_invocation(held))
    for dials in (1, 2):
        assert not held.ready
        assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
        assert network.looks_since() == [False]
        assert held.ready
        invocation = network.run(exchanges.next_invocation(held))
        assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
        assert network.looks_since() == []
        assert network.dials == dials
        held.abandon()
        assert not held.ready
        invocation = network.run(exchanges.next_invocation(held))


def test_a_closed_session_is_never_ready() -> None:
    """Nothing is written by who was closed, however fresh."""
    network, held = Network(INVOCATION), session()
    invocation = polled(network, held, 0.0)
    assert held.ready
    held.closed = True
    assert not held.ready
    with pytest.raises(ConnectionLost, match="closed"):
        network.run(exchanges.respond(held, invocation, b"1"))
    assert network.heard == [NextAsked()]


@pytest.mark.parametrize("conversation", [whole, error, in_parts])
def test_a_stale_connection_that_closed_is_dialled_anew(conversation: Conversation) -> None:
    """Before anything of the response is said, and it is said once."""
    network, held = Network(INVOCATION, Accepted()), session()
    invocation = polled(network, held, STALE_S)
    network.closed = True
    assert network.run(conversation(held, invocation)) == Accepted()
    assert network.dials == 2
    assert len(network.heard) == (5 if conversation is in_parts else 2)


class Deaf(Network):
    """A network whose service closes, unseen, so that what is written is lost and then the end is read."""

    def do(self, want: Want) -> bytes:
        if isinstance(want, Write) and self.closed and not want.look_first:
            want.advance(sum(map(len, want.next_buffers(1000))))
            return b""
        return super().do(want)


class Closing(Deaf):
    """A network whose service closes after each answer, and says so nowhere."""

    def _answer(self, answer: Answer | None) -> None:
        super()._answer(answer)
        self.closed = True


@pytest.mark.parametrize("conversation", [whole, error, in_parts])
def test_every_answer_arrives_where_no_connection_is_kept(conversation: Conversation) -> None:
    """RT-RESP-15: it is posted once, and so not where its loss can be seen, however fast the handler is."""
    network, held = Closing(*(INVOCATION, Accepted()) * 3), session()
    held.quiet_s = 0.0
    for number in range(3):
        invocation = network.run(exchanges.next_invocation(held))
        assert network.dials == 2 * number + 1
        assert network.run(conversation(held, invocation)) == Accepted()
        assert network.dials == 2 * number + 2
    assert network.answers == []


@pytest.mark.parametrize("reset", [False, True])
def test_a_fresh_poll_on_a_connection_that_closed_is_asked_again(reset: bool) -> None:
    """On a new connection, once: a poll may be asked twice when nobody can answer the first."""
    network, held = Deaf(INVOCATION, Accepted(), INVOCATION), session()
    network.run(exchanges.respond(held, polled(network, held), b"1"))
    held.quiet_s, network.closed, network.reset = 0.0, True, reset
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2
    assert network.heard.count(NextAsked()) == 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("conversation", [whole, error, in_parts])
def test_a_fresh_response_on_a_connection_that_closed_is_never_posted_twice(
    conversation: Conversation, reset: bool
) -> None:
    """Its fate is unknown, and the fault says so; the loop goes on with a poll."""
    network, held = Deaf(INVOCATION, INVOCATION), session()
    invocation = polled(network, held, 0.0)
    network.closed, network.reset = True, reset
    with pytest.raises(ConnectionLost, match="unknown") as caught:
        network.run(conversation(held, invocation))
    assert not caught.value.nothing_sent
    assert network.dials == 1
    with pytest.raises(LocalProtocolError):
        network.run(conversation(held, invocation))
    held.quiet_s = 0.0
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.heard == [NextAsked(), NextAsked()]


@pytest.mark.parametrize("goes", [False, True])
def test_an_early_answer_is_heard_by_the_first_write_that_is_not_fresh(goes: bool) -> None:
    """What was fresh went out before it; nothing more does. The same when the service goes away."""
    network, held = Network(INVOCATION, INVOCATION), session()
    response = network.run(exchanges.start_response(held, polled(network, held, 0.0), (b"one",)))
    if goes:
        network.closed = True
    else:
        network.inbox = [network._service.send(REFUSED)]
    held.quiet_s = FRESH_S
    network.run(exchanges.write_chunks(response, (b"two",)))
    held.quiet_s = STALE_S
    with pytest.raises(StreamInterrupted) as caught:
        network.run(exchanges.write_chunks(response, (b"three",)))
    assert caught.value.answer == (None if goes else REFUSED)
    assert next(event for event in network.heard if isinstance(event, ResponseChunk)) == ResponseChunk(data=b"one")
    assert ResponseChunk(data=b"three") not in network.heard
    held.quiet_s = 0.0
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2


def test_an_early_answer_is_heard_by_the_end_at_the_latest() -> None:
    """A stream that was fresh throughout: its end has the answer that came in the middle."""
    network, held = Network(INVOCATION), session()
    response = network.run(exchanges.start_response(held, polled(network, held, 0.0), (b"one",)))
    network.inbox = [network._service.send(REFUSED)]
    network.run(exchanges.write_chunks(response, (b"two",)))
    assert network.run(exchanges.finish_response(response)) == REFUSED
    assert ResponseFinished() not in network.heard
    assert not held.ready


def test_words_after_an_answer_make_a_connection_unfit_however_fresh() -> None:
    """They were read with it, and would pass for the answer to the next request."""
    network, held = Network(INVOCATION, Accepted(), INVOCATION), session()
    invocation = polled(network, held, 0.0)
    network.cut = lambda data: [data + b"HTTP/1.1 408 Request Timeout\r\n\r\n"]
    assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
    network.cut = lambda data: [data]
    assert not held.ready
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2


def test_what_comes_in_pieces_is_read_to_its_end_without_a_look() -> None:
    """A request that was fresh reads at once: what it hears is its answer."""
    network, held = Network(INVOCATION, Accepted()), session()
    invocation = polled(network, held, 0.0)
    network.cut = lambda data: [data[at : at + 1] for at in range(len(data))]
    assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
    assert sum(isinstance(event, BufferedResponse) for event in network.heard) == 1


def test_callers_always_look() -> None:
    """A call is sent once, and its function may cost: one look before each, however fresh the connection is."""
    network, held = caller.Network(), exchanges.CallerSession(host=caller.HOST)
    looks: list[bool] = []
    original = network.do

    def watched(want: Want) -> bytes:
        if isinstance(want, Write) and want.look_first:
            looks.append(not want.done)
        return original(want)

    network.do = watched  # type: ignore[method-assign]  # counts
    for number in range(3):
        held.quiet_s = 0.0
        assert not held.ready
        asked = InvokeAsked(function_name="f", payload=b"%d" % number)
        assert network.run(exchanges.invoke(held, asked)) == InvokeAnswered(payload=b"%d" % number)
    assert looks == [False, False]
    network.closed = True
    assert network.run(exchanges.invoke(held, caller.WHOLE)) == InvokeAnswered(payload=caller.WHOLE.payload)
    assert network.dials == 2

"""One connection's turns, both ends: what RFC 9112 lets them do, with h11 and the other end as readers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_wire._errors import LocalProtocolError
from lambda_wire._events import ConnectionClosed, Refused
from lambda_wire._heads import encode_response_head
from lambda_wire._limits import MAX_UNREAD
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MalformedMessage, MessageEnd, RequestHead, ResponseHead
from lambda_wire._server_turns import Framing, ServerRole, ServerTurns, status_of
from lambda_wire._signals import NEED_DATA, PAUSED, Signal
from lambda_wire._state import TURNS, Act, Turn
from lambda_wire._turns import ClientRole
from lambda_wire._types import BytesLike
from lambda_wire.testing import deliveries

CLOSED = ConnectionClosed()
END = MessageEnd()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
UNASKED = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\nno"


def request(*fields: bytes, method: bytes = b"POST", version: bytes = b"1.1", body: bytes = b"") -> bytes:
    counted = (*fields, b"Content-Length: %d" % len(body)) if body else fields
    lines = (b"%b / HTTP/%b" % (method, version), b"Host: a", *counted, b"", body)
    return b"\r\n".join(lines)


POST = request(body=b"hi")


class ClientTurns(ClientRole[object, object]):
    """What every role that asks keeps, laid open; it says and hears nothing of its own."""

    require, move = ClientRole._require, ClientRole._move
    check, accuse = ClientRole._check, ClientRole._accuse
    start_request = ClientRole._start_request
    next_part, next_answer = ClientRole._next_part, ClientRole._next_answer
    collect = ClientRole._collect

    def send_buffers(self, event: object) -> list[BytesLike]:
        return [b"head of ", repr(event).encode()]

    def next_event(self) -> object:
        raise NotImplementedError


class Answerer(ServerRole[str]):
    """What every role that is asked keeps, laid open."""

    may_continue = ServerRole[str]._continue

    def __init__(self, *wire: bytes) -> None:
        self.turns = ServerTurns("client")
        super().__init__(self.turns)
        for data in wire:
            self.receive_data(data)
        parts_of(self.turns)

    def refuse(self, refusal: str) -> None:
        self._refusal = refusal


# -- each end in each turn


def client(turn: Turn = Turn.IDLE) -> ClientTurns:
    """Return a client's end that has come as far as ``turn``."""
    turns = ClientTurns("server")
    wire = {Turn.ANSWERING: OK[:-1], Turn.OVERTAKEN: OK[:-1], Turn.LAST_ANSWER: LAST[:-1], Turn.CUT: LAST}
    if turn is not Turn.IDLE:
        turns.move(Act.REQUEST_STARTED)
    if turn not in (Turn.IDLE, Turn.SENDING, Turn.OVERTAKEN):
        turns.move(Act.REQUEST_ENDED)
    if turn in wire:
        turns.receive_data(wire[turn])
        parts_of(turns)
    if turn is Turn.CLOSED:
        turns.abandon()
    assert turns.turn is turn
    return turns


def server(turn: Turn = Turn.IDLE, wire: bytes = POST, status: int = 200, size: int | None = None) -> ServerTurns:
    """Return a server's end that has come as far as ``turn`` with the request in ``wire``."""
    turns = ServerTurns("client")
    if turn in (Turn.LAST_ANSWER, Turn.CUT):
        wire = request(b"Connection: close", body=b"hi")
    if turn is not Turn.IDLE:
        turns.receive_data(wire[:-1] if turn in (Turn.SENDING, Turn.OVERTAKEN) else wire)
        parts_of(turns)
    if turn not in (Turn.IDLE, Turn.SENDING, Turn.AWAITING, Turn.CLOSED):
        turns.start_answer(turns.framing(status, size))
    if turn is Turn.CUT:
        turns.end_answer()
    if turn is Turn.CLOSED:
        turns.abandon()
    assert turns.turn is turn
    return turns


def parts_of(turns: ClientTurns | ServerTurns) -> list[object]:
    """Return every part that is there, bodies joined; ``ConnectionClosed`` is the last."""
    parts: list[object] = []
    while not isinstance(part := turns.next_part(), Signal):
        if isinstance(part, bytes) and parts and isinstance(parts[-1], bytes):
            parts[-1] += part
        else:
            parts.append(part)
        if isinstance(part, ConnectionClosed):
            break
    return parts


def seen(turns: ClientTurns | ServerTurns) -> tuple[object, ...]:
    """Return everything that a connection tells."""
    if isinstance(turns, ClientTurns):
        return turns.turn, turns.must_close, turns.awaiting_answer
    return turns.turn, turns.must_close, turns.in_body, turns.head


def answers_of(turns: ClientTurns, pieces: Iterable[bytes], next_answer: Callable[[], object]) -> list[object]:
    """Return every answer that is there, and the turn after it; an end or a fault is the last."""
    answers: list[object] = []
    try:
        for data in pieces:
            turns.receive_data(data)
            while not isinstance(answer := next_answer(), Signal):
                answers.append((answer, turns.turn))
                if isinstance(answer, ConnectionClosed):
                    return answers
    except Malformed as fault:
        answers.append((fault.reason, fault.at))
    return answers


def joined(turns: ClientTurns) -> Callable[[], object]:
    """Return what gives the next answer, read part by part."""
    heads: list[ResponseHead] = []
    bodies: list[bytes] = []

    def next_answer() -> object:
        while True:
            match turns.next_part():
                case ResponseHead() as head:
                    heads.append(head)
                    bodies.clear()
                case bytes() as piece:
                    bodies.append(piece)
                case MessageEnd():
                    return heads[-1].status, heads[-1].headers, b"".join(bodies)
                case other:
                    return other

    return next_answer


WHOLE_ANSWERS = (
    OK,
    LAST,
    UNASKED,
    OK[:-1],
    OK[:9],
    OK.replace(b"2\r\n\r\nok", b"0\r\n\r\n"),
    OK.replace(b"/1.1", b"/1.0"),
    OK.replace(b"200", b"204"),
    b"HTTP/1.1 103 A\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\no\r\n1\r\nk\r\n0\r\nT: v\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokx\r\n",
)

EVERYWHERE = [(end, turn) for end in (client, server) for turn in Turn]


class TestActs:
    """``require`` asks the table, ``move`` follows it."""

    @pytest.mark.parametrize(("end", "turn", "act"), [(*where, act) for where in EVERYWHERE for act in Act])
    def test_every_act_in_every_turn(
        self, end: Callable[[Turn], ClientTurns | ServerTurns], turn: Turn, act: Act
    ) -> None:
        """It moves as the table says, or is refused: then nothing changed, and whatever was legal still is."""
        turns = end(turn)
        before = seen(turns)
        if act in TURNS[turn]:
            turns.require(act, "It")
            assert seen(turns) == before
            turns.move(act)
            assert turns.turn is TURNS[turn][act]
        else:
            with pytest.raises(LocalProtocolError, match=f"It may not be sent while the connection is {turn.value}"):
                turns.require(act, "It")
            assert seen(turns) == before
            for legal in TURNS[turn]:
                turns.require(legal, "It")

    @pytest.mark.parametrize(("end", "turn"), EVERYWHERE)
    def test_whether_another_request_may_follow(
        self, end: Callable[[Turn], ClientTurns | ServerTurns], turn: Turn
    ) -> None:
        """It may exactly where the table still leads back to ``IDLE``, and a refusal says so.

        Only a server that is still giving its last answer must not close yet: it would cut it.
        """
        reached, waiting = {turn}, [turn]
        while waiting:
            fresh = set(TURNS[waiting.pop()].values()) - reached
            reached |= fresh
            waiting += fresh
        turns = end(turn)
        answering = isinstance(turns, ServerTurns) and turn in (Turn.OVERTAKEN, Turn.LAST_ANSWER)
        assert turns.must_close is (Turn.IDLE not in reached and not answering)
        illegal = next(act for act in Act if act not in TURNS[turn])
        with pytest.raises(LocalProtocolError) as caught:
            turns.require(illegal, "It")
        assert ("and the connection must be closed" in str(caught.value)) is turns.must_close

    @pytest.mark.parametrize("turn", Turn)
    def test_nothing_is_sent_after_a_request_that_was_not_written_whole(self, turn: Turn) -> None:
        """The server would take the next bytes for the rest of it."""
        turns = client(turn)
        turns.send_failed()
        assert (turns.turn, turns.must_close, turns.awaiting_answer) == (turn, True, False)
        for act in Act:
            with pytest.raises(LocalProtocolError, match="must be closed"):
                turns.require(act, "It")

    def test_what_was_said_before_a_failed_send_is_heard(self) -> None:
        """It may be the reason why the request could not be written."""
        turns = client(Turn.SENDING)
        turns.send_failed()
        turns.receive_data(OK)
        assert [type(part) for part in parts_of(turns)] == [ResponseHead, bytes, MessageEnd]
        assert turns.turn is Turn.CUT


class TestFaults:
    """Whose fault it is, for ever."""

    @pytest.mark.parametrize(("end", "turn"), EVERYWHERE)
    def test_for_ever(self, end: Callable[[Turn], ClientTurns | ServerTurns], turn: Turn) -> None:
        """``check`` raises the same again, whatever arrives; the peer and the reply are named."""
        turns, reply = end(turn), Refused(status=400)
        turns.check()
        fault = turns.accuse(Malformed("expected sense", at=7), reply=reply)
        peer = "server" if isinstance(turns, ClientTurns) else "client"
        assert str(fault) == f"the {peer} sent what it may not: expected sense (at byte 7)"
        for _ in range(2):
            assert turns.must_close
            with pytest.raises(type(fault)) as caught:
                turns.check()
            assert (str(caught.value), caught.value.reply) == (str(fault), reply)
            turns.receive_data(OK)

    @pytest.mark.parametrize(("end", "wire"), [(client, OK), (server, POST)])
    def test_what_arrives_afterwards_is_dropped(
        self, end: Callable[[], ClientTurns | ServerTurns], wire: bytes
    ) -> None:
        """Nobody will read it."""
        turns = end()
        turns.accuse(Malformed("expected sense"))
        turns.receive_data(wire)
        assert turns.next_part() is NEED_DATA

    @pytest.mark.parametrize("turn", Turn)
    def test_a_client_that_found_one_says_nothing_more(self, turn: Turn) -> None:
        """Nor does it wait for an answer."""
        turns = client(turn)
        turns.accuse(Malformed("expected sense"))
        assert not turns.awaiting_answer
        for act in Act:
            with pytest.raises(LocalProtocolError, match="must be closed"):
                turns.require(act, "It")

    @pytest.mark.parametrize("turn", [Turn.IDLE, Turn.SENDING, Turn.AWAITING])
    def test_a_server_that_found_one_answers_it_and_nothing_more(self, turn: Turn) -> None:
        """The answer to a fault is the last one, even where the request was complete."""
        turns = server(turn)
        turns.accuse(Malformed("expected sense"))
        turns.require(Act.ANSWER_STARTED, "Refused")
        framing = turns.framing(400, 2)
        assert framing.last
        turns.start_answer(framing)
        assert turns.part_buffers(b"no") == [b"no"]
        assert turns.end_answer() == []
        assert turns.turn is Turn.CUT
        with pytest.raises(LocalProtocolError, match="must be closed"):
            turns.require(Act.ANSWER_STARTED, "Refused")

    def test_no_http(self) -> None:
        """The reader's own fault leaves as ``Malformed``, at either end."""
        for turns in (client(Turn.AWAITING), server()):
            turns.receive_data(b"\0")
            with pytest.raises(MalformedMessage):
                turns.next_part()

    def test_status(self) -> None:
        """That of the reader where it has one, else 400."""
        assert status_of(MalformedMessage("too long", at=0, status_hint=431)) == 431
        assert status_of(Malformed("expected sense")) == 400


class TestAbandoned:
    """Given up, at whatever point."""

    @pytest.mark.parametrize(("end", "turn"), EVERYWHERE)
    def test_only_its_end_is_heard(self, end: Callable[[Turn], ClientTurns | ServerTurns], turn: Turn) -> None:
        """However often one asks, whatever had arrived and arrives."""
        turns = end(turn)
        turns.receive_data(OK if isinstance(turns, ClientTurns) else POST)
        turns.abandon()
        for data in (OK, b"\0", b""):
            assert (turns.next_part(), turns.turn, turns.must_close) == (CLOSED, Turn.CLOSED, True)
            turns.receive_data(data)
        assert turns.next_part() == CLOSED

    def test_what_arrives_afterwards_is_not_held(self) -> None:
        """However much it is."""
        for turns in (client(Turn.CLOSED), server(Turn.CLOSED)):
            tracemalloc.start()
            for _ in range(64):
                turns.receive_data(bytes(16_384))
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert held < 65_536

    def test_before_an_answer_that_waits_to_be_read(self) -> None:
        """It is not given any more."""
        turns = client(Turn.AWAITING)
        turns.receive_data(OK)
        turns.abandon()
        assert (parts_of(turns), turns.awaiting_answer) == ([CLOSED], False)


class TestClient:
    """What the end that asks hears."""

    @pytest.mark.parametrize(
        ("before", "wire", "turn", "after"),
        [
            (Turn.AWAITING, OK, Turn.ANSWERING, Turn.IDLE),
            (Turn.AWAITING, LAST, Turn.LAST_ANSWER, Turn.CUT),
            (Turn.AWAITING, OK.replace(b"/1.1", b"/1.0"), Turn.LAST_ANSWER, Turn.CUT),
            (Turn.AWAITING, UNASKED, Turn.ANSWERING, Turn.IDLE),
            (Turn.SENDING, OK, Turn.OVERTAKEN, Turn.CUT),
            (Turn.SENDING, LAST, Turn.OVERTAKEN, Turn.CUT),
            (Turn.IDLE, UNASKED, Turn.LAST_ANSWER, Turn.CUT),
        ],
    )
    def test_an_answer(self, before: Turn, wire: bytes, turn: Turn, after: Turn) -> None:
        """Head, body and end, however delivered; between them the connection stands where the answer puts it."""
        for pieces in deliveries(wire):
            turns = client(before)
            parts: list[object] = []
            for data in pieces:
                turns.receive_data(data)
                while not isinstance(part := turns.next_part(), Signal):
                    parts.append(part)
                    assert turns.turn is (after if isinstance(part, MessageEnd) else turn)
            assert [type(part) for part in parts if type(part) is not bytes] == [ResponseHead, MessageEnd]
            assert b"".join(part for part in parts if isinstance(part, bytes)) == wire[-2:]
            assert turns.next_part() is NEED_DATA
            assert turns.must_close is (after is Turn.CUT)

    @pytest.mark.parametrize("before", [Turn.IDLE, Turn.SENDING, Turn.AWAITING])
    @pytest.mark.parametrize("after", [b"", b"x", OK, UNASKED])
    @pytest.mark.parametrize("wire", WHOLE_ANSWERS)
    def test_whole_answers_are_what_their_parts_are(self, before: Turn, wire: bytes, after: bytes) -> None:
        """The same answers, ends and faults, the same turns after them, however they are delivered."""
        for pieces in deliveries(wire + after):
            in_parts, whole = client(before), client(before)
            answers = answers_of(whole, [*pieces, b""], partial(whole.next_answer, 99))
            assert answers == answers_of(in_parts, [*pieces, b""], joined(in_parts))
            assert answers
            assert seen(whole) == seen(in_parts)

    def test_a_plain_answer_moves_as_any_other(self) -> None:
        """It is asked for, and then it is over: the next one answers nothing."""
        turns = client(Turn.AWAITING)
        turns.receive_data(OK)
        assert turns.next_answer(2) == (200, (("content-length", "2"),), b"ok")
        assert (turns.turn, turns.idle, turns.awaiting_answer) == (Turn.IDLE, True, False)
        turns.receive_data(OK)
        assert not turns.idle
        with pytest.raises(
            Malformed, match="expected nothing while no request is open, got a response with status 200"
        ):
            turns.next_answer(2)

    @pytest.mark.parametrize("wire", [OK, LAST, OK.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")])
    def test_answers_have_their_limit(self, wire: bytes) -> None:
        """It is known with the head, or with the first chunk."""
        if b"chunked" in wire:
            wire = wire.replace(b"ok", b"2\r\nok\r\n0\r\n\r\n")
        for pieces in deliveries(wire):
            turns = client(Turn.AWAITING)
            (fault,) = answers_of(turns, pieces, partial(turns.next_answer, 1))
            assert fault == ("expected an answer of at most 1 bytes, got more", None)

    def test_what_was_begun_in_parts_is_not_given_whole(self) -> None:
        """Who mixes them up has a bug."""
        turns = client(Turn.AWAITING)
        turns.receive_data(OK[:-1])
        assert isinstance(turns.next_part(), ResponseHead)
        with pytest.raises(AssertionError, match="comes with its end"):
            turns.next_answer(2)

    @pytest.mark.parametrize("whole", [True, False])
    def test_a_large_answer_may_be_received_where_it_belongs(self, whole: bool) -> None:
        """Whoever collects it is lent its memory, and only then."""
        turns = client(Turn.AWAITING)
        turns.receive_data(OK.replace(b": 2", b": 100002"))
        assert turns.receive_buffer is None
        if whole:
            assert turns.next_answer(100_002) is NEED_DATA
        else:
            assert isinstance(turns.next_part(), ResponseHead)
            turns.collect(100_002)
            assert turns.next_part() is NEED_DATA
        into = turns.receive_buffer
        assert into is not None
        assert len(into) == 100_000
        into[:] = b"x" * 100_000
        turns.receive_data(into)
        assert turns.receive_buffer is None
        end = turns.next_answer(100_002) if whole else turns.next_part()
        body = end[2] if isinstance(end, tuple) else end.body if isinstance(end, MessageEnd) else None
        assert body == b"ok" + b"x" * 100_000
        assert turns.idle

    @pytest.mark.parametrize("turn", Turn)
    def test_idle(self, turn: Turn) -> None:
        """When it may ask, and only then."""
        turns = client(turn)
        assert turns.idle is (turn is Turn.IDLE)
        turns.send_failed()
        assert turns.idle is False

    def test_not_idle_after_a_fault(self) -> None:
        """Nothing can be asked of a server that is accused, nor of one that spoke unasked."""
        turns = client()
        turns.receive_data(b"H")
        assert not turns.idle
        turns = client()
        turns.accuse(Malformed("x"))
        assert turns.idle is False
        assert turns.awaiting_answer is False

    def test_what_is_said_in_one_piece_is_what_its_buffers_hold(self) -> None:
        """For who does not write buffers in one call."""
        assert client().send("event") == b"head of 'event'"

    def test_two_requests(self) -> None:
        """After a whole answer the connection carries the next."""
        turns = client(Turn.AWAITING)
        for _ in range(2):
            turns.receive_data(OK)
            assert len(parts_of(turns)) == 3
            turns.require(Act.REQUEST_STARTED, "It")
            turns.move(Act.REQUEST_STARTED)
            turns.move(Act.REQUEST_ENDED)

    def test_an_overtaken_request_may_be_ended(self) -> None:
        """While its answer is not complete; then the answer is what is waited for, and it is the last."""
        turns = client(Turn.OVERTAKEN)
        assert not turns.awaiting_answer
        for act in (Act.REQUEST_PART, Act.REQUEST_ENDED):
            turns.require(act, "It")
            turns.move(act)
        assert (turns.turn, turns.awaiting_answer, turns.must_close) == (Turn.LAST_ANSWER, True, True)
        turns.receive_data(OK[-1:])
        assert parts_of(turns) == [OK[-1:], END]
        assert turns.turn is Turn.CUT

    def test_after_head_there_is_no_body(self) -> None:
        """RFC 9112, 6.3: whatever the length says, the next answer follows the head."""
        turns = client(Turn.IDLE)
        turns.start_request("HEAD", whole=True)
        turns.receive_data(OK.removesuffix(b"ok"))
        assert parts_of(turns)[1:] == [END]
        turns.start_request("GET", whole=True)
        turns.receive_data(OK)
        assert parts_of(turns)[1:] == [b"ok", END]

    @pytest.mark.parametrize("turn", [Turn.IDLE, Turn.SENDING, Turn.AWAITING])
    def test_interim_answers_are_none(self, turn: Turn) -> None:
        """RFC 9110, 15.2: any number of them may come."""
        turns = client(turn)
        turns.receive_data(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
        assert (parts_of(turns), turns.turn, turns.must_close) == ([], turn, False)

    @pytest.mark.parametrize(("turn", "wire"), [(Turn.IDLE, OK), (Turn.CUT, OK), (Turn.CUT, UNASKED)])
    def test_an_answer_to_no_request(self, turn: Turn, wire: bytes) -> None:
        """RFC 9112, 9.2: it is none."""
        for pieces in deliveries(wire):
            turns = client(turn)
            with pytest.raises(Malformed, match="expected nothing while no request is open, got a response with stat"):
                feed(turns, pieces)
            assert turns.turn is turn

    def test_a_farewell(self) -> None:
        """A server may say why it closes an idle connection (RFC 9110, 15.5.9); nobody waited for that."""
        turns = client()
        for data in (UNASKED[:-1], UNASKED[-1:]):
            turns.receive_data(data)
            parts_of(turns)
            assert (turns.must_close, turns.awaiting_answer) == (True, False)
        assert turns.turn is Turn.CUT

    def test_what_is_there_before_the_request_cannot_answer_it(self) -> None:
        """So no request may follow, until what is there is read and turns out to be nothing."""
        turns = client()
        turns.receive_data(b"HTTP/1.1 100 Continue\r\n")
        assert turns.must_close
        with pytest.raises(LocalProtocolError, match="IDLE, and the connection must be closed"):
            turns.require(Act.REQUEST_STARTED, "It")
        turns.receive_data(b"\r\n")
        assert turns.next_part() is NEED_DATA
        turns.require(Act.REQUEST_STARTED, "It")

    @pytest.mark.parametrize("before", [Turn.SENDING, Turn.AWAITING])
    @pytest.mark.parametrize("cut", range(len(OK) + 1))
    def test_the_end_at_every_byte(self, before: Turn, cut: int) -> None:
        """A connection that is lost accuses nobody; what is due then never comes."""
        turns = client(before)
        turns.receive_data(OK[:cut])
        turns.receive_data(b"")
        assert (MessageEnd() in parts_of(turns)) is (cut == len(OK))
        assert (turns.turn, turns.next_part(), turns.awaiting_answer) == (Turn.CLOSED, CLOSED, False)

    def test_a_body_that_ends_with_its_connection(self) -> None:
        """RFC 9112, 6.3: the end completes it, and comes after it."""
        turns = client(Turn.AWAITING)
        turns.receive_data(b"HTTP/1.1 200 OK\r\n\r\nabc")
        assert parts_of(turns)[1:] == [b"abc"]
        assert (turns.turn, turns.awaiting_answer) == (Turn.LAST_ANSWER, True)
        turns.receive_data(b"")
        assert turns.next_part() == END
        assert turns.turn is Turn.CUT
        assert parts_of(turns) == [CLOSED]

    @pytest.mark.parametrize("turn", Turn)
    def test_awaiting_an_answer(self, turn: Turn) -> None:
        """From the end of the request to the end of its answer."""
        assert client(turn).awaiting_answer is (turn in (Turn.AWAITING, Turn.ANSWERING, Turn.LAST_ANSWER))


def feed(turns: ClientTurns | ServerTurns, pieces: Iterable[bytes]) -> list[object]:
    """Return the parts of what is delivered."""
    parts: list[object] = []
    for data in pieces:
        turns.receive_data(data)
        parts += parts_of(turns)
    return parts


class TestServer:
    """What the end that is asked hears, and when it reads no further."""

    def test_a_request(self) -> None:
        """Head, body and end, however delivered; the head is kept while the request is open."""
        for pieces in deliveries(POST):
            turns = server()
            head, *rest = feed(turns, pieces)
            assert isinstance(head, RequestHead)
            assert rest[-1] == END
            assert (b"".join(piece for piece in rest if isinstance(piece, bytes)), turns.head) == (b"hi", head)
            assert (turns.turn, turns.in_body) == (Turn.AWAITING, False)

    def test_in_body(self) -> None:
        """Between head and end."""
        turns = server()
        turns.receive_data(POST)
        flags: list[bool] = []
        while not isinstance(turns.next_part(), Signal):
            flags.append(turns.in_body)
        assert flags == [True, True, False]

    def test_boundaries(self) -> None:
        """One piece a chunk, however delivered, where the role asks for it."""
        for pieces in deliveries(request(b"Transfer-Encoding: chunked") + b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"):
            turns, parts = ServerTurns("client", keep_boundaries=True), list[object]()
            for data in pieces:
                turns.receive_data(data)
                while not isinstance(part := turns.next_part(), Signal):
                    parts.append(part)
            assert parts[1:] == [b"ab", b"cd", END]

    def test_boundaries_together(self) -> None:
        """The chunks that are here may be taken in one step."""
        turns = ServerTurns("client", keep_boundaries=True)
        turns.receive_data(request(b"Transfer-Encoding: chunked") + b"2\r\nab\r\n2\r\ncd\r\n2\r\n")
        assert turns.take_pieces(99) == ((), False)
        assert isinstance(turns.next_part(), RequestHead)
        assert turns.take_pieces(99) == ([b"ab", b"cd"], True)
        assert turns.next_part() is NEED_DATA

    @pytest.mark.parametrize("turn", [Turn.AWAITING, Turn.ANSWERING])
    def test_the_next_request_waits(self, turn: Turn) -> None:
        """``PAUSED`` while an answer is due and bytes wait; what was waiting is read after the answer."""
        turns = server(turn)
        assert turns.next_part() is NEED_DATA
        turns.receive_data(request(method=b"PUT"))
        assert turns.next_part() is PAUSED
        if turn is Turn.AWAITING:
            turns.start_answer(turns.framing(204, None))
        assert turns.next_part() is PAUSED
        turns.end_answer()
        assert (turns.turn, turns.head.target) == (Turn.IDLE, "")
        head = turns.next_part()
        assert isinstance(head, RequestHead)
        assert (head.method, turns.head) == ("PUT", head)

    @pytest.mark.parametrize("turn", [Turn.OVERTAKEN, Turn.LAST_ANSWER, Turn.CUT])
    @pytest.mark.parametrize("data", [None, b"x", POST, b"\0", b""])
    def test_nothing_is_read_once_no_request_may_follow(self, turn: Turn, data: bytes | None) -> None:
        """Not the rest of an overtaken request, nor bytes that would be a fault, nor the end."""
        turns = server(turn)
        if data is not None:
            turns.receive_data(data)
        assert (turns.next_part(), turns.turn) == (PAUSED, turn)

    @pytest.mark.parametrize("data", [b"", b"\0", POST])
    def test_the_rest_of_a_refused_request_is_not_read(self, data: bytes) -> None:
        """Once the role has ended it, the rest is not even looked at, and its answer is the last."""
        turns = server(Turn.SENDING)
        turns.move(Act.REQUEST_ENDED)
        turns.receive_data(data)
        assert turns.next_part() is PAUSED
        framing = turns.framing(413, 0)
        assert framing.last
        turns.start_answer(framing)
        turns.end_answer()
        assert turns.turn is Turn.CUT

    @pytest.mark.parametrize("turn", [Turn.IDLE, Turn.AWAITING, Turn.ANSWERING])
    def test_the_end_is_told_and_moves_nothing(self, turn: Turn) -> None:
        """A client that has ended its half may still wait for its answer: the role decides."""
        turns = server(turn)
        turns.receive_data(b"")
        for _ in range(2):
            assert (turns.next_part(), turns.turn) == (CLOSED, turn)

    def test_a_truncated_request(self) -> None:
        """Is a fault that can be answered, last of all."""
        for cut in range(1, len(POST)):
            turns = server()
            turns.receive_data(POST[:cut])
            turns.receive_data(b"")
            with pytest.raises(MalformedMessage):
                parts_of(turns)
            assert turns.framing(400, 0).last

    @pytest.mark.parametrize("turn", [Turn.IDLE, Turn.SENDING])
    def test_an_answer_that_overtakes_its_request_is_the_last(self, turn: Turn) -> None:
        """RFC 9112, 9.3: the rest of the request would pass for the next one."""
        turns = server(turn)
        framing = turns.framing(400, 0)
        assert framing.last
        turns.start_answer(framing)
        assert not turns.must_close
        turns.end_answer()
        assert turns.must_close
        assert turns.turn is Turn.CUT

    def test_how_much_of_an_unwanted_body_is_read(self) -> None:
        """So much for every request, and as much more as the role allows; nothing of none."""
        assert not server().may_skip(1)
        turns = server(Turn.SENDING)
        assert turns.may_skip(MAX_UNREAD)
        assert not turns.may_skip(1)
        turns.allow_unread(3)
        assert turns.may_skip(2)
        assert not turns.may_skip(1)
        turns.receive_data(POST[-1:] + POST)
        parts_of(turns)
        turns.start_answer(turns.framing(200, 0))
        turns.end_answer()
        parts_of(turns)
        assert turns.may_skip(MAX_UNREAD)


class TestContinue:
    """Whether a client waits to be told to send the body (RFC 9110, 10.1.1), and that he is told so once."""

    ASKED = request(b"Expect: 100-continue", body=b"hi")

    def test_due(self) -> None:
        """From the head that asks for it to the end of its request."""
        turns = server()
        assert turns.continue_due is False
        due: list[bool] = []
        turns.receive_data(self.ASKED)
        while not isinstance(turns.next_part(), Signal):
            due.append(turns.continue_due)
        assert due == [True, True, False]
        turns.start_answer(turns.framing(204, None))
        turns.end_answer()
        turns.receive_data(POST[:-1])
        parts_of(turns)
        assert turns.continue_due is False

    def test_said(self) -> None:
        """Once; the rest of the body then arrives."""
        role = Answerer(self.ASKED[:-2])
        role.may_continue()
        assert (role.turn, role.turns.continue_due) == (Turn.SENDING, False)
        self.assert_refused(role, "when it was not asked for")
        role.receive_data(self.ASKED[-2:])
        assert parts_of(role.turns) == [b"hi", END]
        assert role.turn is Turn.AWAITING

    @pytest.mark.parametrize("wire", [POST[:-1], POST, ASKED])
    def test_not_asked_for(self, wire: bytes) -> None:
        """Neither by a client that does not wait, nor when the body is here."""
        self.assert_refused(Answerer(wire), "when it was not asked for")

    def test_not_of_what_is_refused(self) -> None:
        """Who was told to go on would send what nobody reads; nor of what is no HTTP."""
        role = Answerer(self.ASKED[:-2])
        role.refuse("too large")
        self.assert_refused(role, "when it was not asked for")
        role = Answerer(self.ASKED[:-2])
        role.turns.accuse(Malformed("expected sense"))
        assert role.must_close
        self.assert_refused(role, "when it was not asked for")

    def test_not_at_any_time(self) -> None:
        """But while a request is open and its answer has not begun."""
        self.assert_refused(Answerer(), "while the connection is IDLE")
        role = Answerer(self.ASKED[:-2])
        role.turns.start_answer(role.turns.framing(200, 0))
        self.assert_refused(role, "while the connection is OVERTAKEN")
        role.abandon()
        assert (role.turn, role.must_close) == (Turn.CLOSED, True)
        self.assert_refused(role, "while the connection is CLOSED, and the connection must be closed")

    def assert_refused(self, role: Answerer, reason: str) -> None:
        before = seen(role.turns), role.turns.continue_due
        with pytest.raises(LocalProtocolError) as caught:
            role.may_continue()
        assert str(caught.value) == f"Continue may not be sent {reason}"
        assert (seen(role.turns), role.turns.continue_due) == before


#: RFC 9112, 6.1 to 6.3, and RFC 9110, 8.6: HEAD?, status without content?, version, size known? -> the field that
#: frames the body, whether there is one, whether only the end of the connection ends it.
FRAMES: dict[tuple[bool, bool, str, bool], tuple[str, bool, bool]] = {
    (False, False, "1.1", True): ("Content-Length", True, False),
    (False, False, "1.1", False): ("Transfer-Encoding", True, False),
    (False, False, "1.0", True): ("Content-Length", True, False),
    (False, False, "1.0", False): ("", True, True),  # 6.1: no transfer coding to a client of HTTP/1.0
    (False, True, "1.1", True): ("", False, False),  # 6.1 and RFC 9110, 8.6: neither field with 204
    (False, True, "1.1", False): ("", False, False),
    (False, True, "1.0", True): ("", False, False),
    (False, True, "1.0", False): ("", False, False),
    (True, False, "1.1", True): ("Content-Length", False, False),  # what GET would be answered with
    (True, False, "1.1", False): ("", False, False),
    (True, False, "1.0", True): ("Content-Length", False, False),
    (True, False, "1.0", False): ("", False, False),
    (True, True, "1.1", True): ("", False, False),
    (True, True, "1.1", False): ("", False, False),
    (True, True, "1.0", True): ("", False, False),
    (True, True, "1.0", False): ("", False, False),
}
VALUES = {"Content-Length": "5", "Transfer-Encoding": "chunked"}


def asked(method: str, version: str, *, keep_alive: bool) -> ServerTurns:
    """Return a server's end whose answer is due."""
    connection = b"Connection: keep-alive" if keep_alive else b"Connection: close"
    return server(Turn.AWAITING, request(connection, method=method.encode(), version=version.encode()))


def answer(turns: ServerTurns, status: int, pieces: list[bytes], size: int | None) -> tuple[bytes, Framing]:
    """Return the bytes of a whole answer, and how it is framed."""
    framing = turns.framing(status, size)
    head = encode_response_head(status, (*framing.fields, ("Connection", "close" if framing.last else "keep-alive")))
    turns.start_answer(framing)
    buffers: list[BytesLike] = [head]
    for piece in pieces:
        buffers += turns.part_buffers(piece)
    return b"".join((*buffers, *turns.end_answer())), framing


def read_by_h11(method: str, wire: bytes, *, eof: bool) -> bytes:
    """Return the body as h11 reads it; nothing is left over."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(wire)
    if eof:
        reader.receive_data(b"")
    body = b""
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        assert isinstance(event, (h11.Response, h11.Data))
        body += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert reader.trailing_data[0] == b""
    return body


class TestFraming:
    """How an answer is framed, and that every reader finds the same body in it."""

    @pytest.mark.parametrize(
        ("method", "status", "version", "size", "keep_alive"),
        list(product(("GET", "HEAD", "POST"), (200, 204, 304, 404), ("1.0", "1.1"), (5, None), (True, False))),
    )
    def test_the_whole_product(
        self, method: str, status: int, version: str, size: int | None, keep_alive: bool
    ) -> None:
        """Method, status, version, size and persistence: as RFC 9112 has it, and as h11 reads it."""
        field, has_body, until_close = FRAMES[method == "HEAD", status in (204, 304), version, size is not None]
        turns = asked(method, version, keep_alive=keep_alive)
        assert turns.last is not keep_alive
        wire, framing = answer(turns, status, [b"he", b"llo"], size)
        assert framing == Framing(
            fields=((field, VALUES[field]),) if field else (),
            has_body=has_body,
            chunked=field == "Transfer-Encoding",
            last=until_close or not keep_alive,
        )
        assert read_by_h11(method, wire, eof=until_close) == (b"hello" if has_body else b"")
        assert turns.turn is (Turn.CUT if framing.last else Turn.IDLE)

    @pytest.mark.parametrize(
        ("version", "last", "always", "said"),
        [
            ("1.1", False, False, ""),
            ("1.1", False, True, "keep-alive"),
            ("1.1", True, False, "close"),
            ("1.1", True, True, "close"),
            ("1.0", False, False, "keep-alive"),
            ("1.0", False, True, "keep-alive"),
            ("1.0", True, False, "close"),
            ("1.0", True, True, "close"),
        ],
    )
    def test_what_is_said_of_the_connection(self, version: str, last: bool, always: bool, said: str) -> None:
        """RFC 9112, 9.3: HTTP/1.1 keeps it without a word, HTTP/1.0 does not. Its end is always said (RT-CONN-14)."""
        turns = asked("GET", version, keep_alive=True)
        assert turns.connection(last=last, always=always) == said

    @settings(deadline=None)
    @given(
        method=st.sampled_from(("GET", "HEAD", "POST")),
        version=st.sampled_from(("1.0", "1.1")),
        keep_alive=st.booleans(),
        known=st.booleans(),
        pieces=st.lists(st.binary(max_size=40), max_size=6),
    )
    def test_both_ends_agree(
        self, method: str, version: str, keep_alive: bool, known: bool, pieces: list[bytes]
    ) -> None:
        """What a server's end writes a client's end reads, however cut; both know whether another request follows."""
        body = b"".join(pieces)
        turns = asked(method, version, keep_alive=keep_alive)
        wire, framing = answer(turns, 200, pieces, len(body) if known else None)
        read = body if framing.has_body else b""
        assert read_by_h11(method, wire, eof=framing.last) == read
        for cuts in deliveries(wire):
            reader = client(Turn.IDLE)
            reader.start_request(method, whole=True)
            parts = feed(reader, [*cuts, b""] if framing.last else cuts)
            assert b"".join(part for part in parts if isinstance(part, bytes)) == read
            assert parts.count(END) == 1
            assert reader.turn is (Turn.CLOSED if framing.last else Turn.IDLE)

    def test_pieces_are_not_copied(self) -> None:
        """In chunks or plain, the buffer that was given goes out; an empty piece says nothing, and ends nothing."""
        data = b"x" * 100
        for size, buffers in ((None, [b"64\r\n", data, b"\r\n"]), (100, [data])):
            turns = server(Turn.ANSWERING, size=size)
            assert turns.part_buffers(b"") == []
            given = turns.part_buffers(data)
            assert given == buffers
            assert any(buffer is data for buffer in given)

    def test_a_piece_in_several_buffers(self) -> None:
        """Is one chunk of them all."""
        buffers = (b"ab", bytearray(b""), memoryview(b"cde"))
        assert b"".join(server(Turn.ANSWERING).part_buffers(*buffers)) == b"5\r\nabcde\r\n"
        assert b"".join(server(Turn.ANSWERING, size=5).part_buffers(*buffers)) == b"abcde"
        assert server(Turn.ANSWERING).part_buffers(b"", b"") == server(Turn.ANSWERING).part_buffers() == []

    def test_the_end_of_chunks(self) -> None:
        """Once, and only of chunks."""
        assert server(Turn.ANSWERING).end_answer() == [b"0\r\n\r\n"]
        assert server(Turn.ANSWERING, size=0).end_answer() == []
        assert server(Turn.ANSWERING, status=204).end_answer() == []


class TestEdges:
    """What begins in parts, what nobody asked for, and what is said of a refusal."""

    def test_a_request_in_parts(self) -> None:
        """It is being sent until its end goes out."""
        turns = client()
        turns.start_request("POST", whole=False)
        assert turns.turn is Turn.SENDING
        assert not turns.idle

    @pytest.mark.parametrize(("status", "refused"), [(399, True), (400, False), (401, False)])
    def test_only_refusals_come_unasked(self, status: int, refused: bool) -> None:
        """A server says them when it gives up an idle connection; what says anything else is out of step."""
        turns = client()
        turns.receive_data(encode_response_head(status, (("Content-Length", "0"),)))
        if refused:
            with pytest.raises(Malformed, match=f"got a response with status {status}"):
                turns.next_part()
        else:
            assert isinstance(turns.next_part(), ResponseHead)

    def test_messages_of_refused_acts(self) -> None:
        """What, when, and whether the connection is to be closed."""
        turns = client(Turn.SENDING)
        with pytest.raises(LocalProtocolError) as caught:
            turns.require(Act.REQUEST_STARTED, "a request")
        assert str(caught.value) == f"a request may not be sent while the connection is {Turn.SENDING.value}"
        turns.abandon()
        with pytest.raises(LocalProtocolError) as caught:
            turns.require(Act.REQUEST_STARTED, "a request")
        assert str(caught.value) == (
            f"a request may not be sent while the connection is {Turn.CLOSED.value}, and the connection must be closed"
        )

    @pytest.mark.parametrize(("keeps", "parts"), [({}, [b"hi"]), ({"keep_boundaries": True}, [])])
    def test_boundaries_are_kept_when_that_is_wanted(self, keeps: dict[str, bool], parts: list[bytes]) -> None:
        """Then a chunk that is not whole waits."""
        turns = ServerTurns("client", **keeps)
        turns.receive_data(request(b"Transfer-Encoding: chunked") + b"5\r\nhi")
        assert parts_of(turns)[1:] == parts

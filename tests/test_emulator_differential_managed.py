"""As in ``test_emulator_differential``, in managed-instances mode: our service role and AWS's emulator say the same.

Drawn is what belongs to this mode: several polls wait at once on several connections, and invocations are answered in
any order, rightly and wrongly. How a head stands on the wire is the same in both modes, and not drawn again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lambda_wire import _limits as limits
from tests.beside import (
    CHUNKED,
    INIT_ERROR,
    MAX_MANAGED_ERROR,
    NEXT,
    PING,
    PREFIX,
    STREAMING,
    Said,
    Step,
    large,
    post,
)
from tests.managed_beside import EXPIRE, INVOKE, Move, Theirs, both, echo_mark, id_mark, running_managed_beside

#: How many sequences are tried.
EXAMPLES: Final = int(os.environ.get("LAMBDA_WIRE_EXAMPLES", "200"))
ECHO = b"Lambda-Runtime-Invocation-Id: "
TYPE = b"Lambda-Runtime-Function-Error-Type: "
DOCUMENT = b"Lambda-Runtime-Function-Error-Body: "
DECLARED = b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
EXPECT = b"Expect: 100-continue"

# -- what a runtime sends

CONNECTIONS: Final = range(5)  # more than there are slots
MODES = (b"Lambda-Runtime-Function-Response-Mode: Streaming", b"Lambda-Runtime-Function-Response-Mode:")
TYPES = (b"Mine", b"Function.Mine", b"Runtime.Unknown", b"Function.ResponseSizeTooLarge", b"")
BODIES = (b"", b"{}", b'{"errorType":"A"}', b"\x00\xff")
CHUNKS = (b"2\r\n{}\r\n", b"1\r\n{\r\n1\r\n}\r\n")
END = b"0\r\n\r\n"
ENDS = (
    b"0\r\n" + TYPE + b"Mine\r\n\r\n",
    b"0\r\n" + TYPE + b"Function.Mine\r\n" + DOCUMENT + b"e30=\r\n\r\n",
    b"0\r\n" + TYPE + b"Runtime.Unknown\r\n" + DOCUMENT + b"?\r\n\r\n",
    b"0\r\n" + TYPE + b"Function.ResponseSizeTooLarge\r\n\r\n",
    b"0\r\n" + DOCUMENT + b"e30=\r\n\r\n",
    b"0\r\nX: a\r\n\r\n",
)
CUT = ((b"Content-Length: 9", b"{}"), (CHUNKED, b"2\r\n{}\r\n0"), (CHUNKED, b"z\r\n"))


def response(index: int) -> bytes:
    """Return where the response to an invocation of this sequence is posted."""
    return PREFIX + b"/invocation/" + id_mark(index) + b"/response"


def error(index: int) -> bytes:
    """Return where it is reported that one failed."""
    return PREFIX + b"/invocation/" + id_mark(index) + b"/error"


def get(connection: int, target: bytes) -> Step:
    """Return a request without a body."""
    return Step(connection, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")


def poll(connection: int) -> Step:
    """Return a poll."""
    return get(connection, NEXT)


def answer(
    connection: int, target: bytes, *fields: bytes, framing: bytes = b"Content-Length: 2", body: bytes = b"{}"
) -> Step:
    """Return an answer to an invocation, or what else is posted."""
    lines = b"".join([line + b"\r\n" for line in (framing, *fields)])
    return Step(connection, post(target, lines, body), ("POST",))


def cut(connection: int, target: bytes, framing: bytes, body: bytes, *fields: bytes) -> Step:
    """Return an answer that is not sent to its end, or is none."""
    return replace(answer(connection, target, *fields, framing=framing, body=body), end=True)


def stream(connection: int, index: int, *fields: bytes) -> Step:
    """Return the begin of a response. That its body is asked for says that it was taken up."""
    return answer(connection, response(index), EXPECT, STREAMING, *fields, framing=CHUNKED, body=b"")


def more(connection: int, data: bytes, *, end: bool = False) -> Step:
    """Return more of it."""
    return Step(connection, data, (), end=end)


class Drawing:
    """What a runtime does, as it is drawn."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.moves: list[Move] = []
        self._waiting: list[int] = []
        self._streams: dict[int, int] = {}
        """What is streamed, by connection."""
        self._invoked = 0

    def begin(self) -> None:
        """Draw how many polls wait, and how many of them are answered."""
        polls = self._draw(st.integers(0, len(CONNECTIONS)))
        for connection in range(polls):
            self._poll(connection)
        for _ in range(self._draw(st.integers(0, polls))):
            self._invoke()

    def go_on(self) -> None:
        """Draw what comes next."""
        idle = [number for number in CONNECTIONS if number not in self._waiting and number not in self._streams]
        acts: list[Callable[[], None]] = []
        if idle:
            connection = self._draw(st.sampled_from(idle))
            acts += [lambda: self._poll(connection)] * 4 + [lambda: self._answer(connection)] * 7
            acts += [lambda: self._begin(connection)] * 3 + [lambda: self._other(connection)]
        if self._waiting:
            acts += [self._invoke] * 5
        if self._streams:
            acts += [self._go_on_with_stream] * 5
        self._draw(st.sampled_from(acts))()

    def _poll(self, connection: int) -> None:
        self.moves.append(poll(connection))
        self._waiting.append(connection)

    def _invoke(self) -> None:
        self.moves.append(INVOKE)
        self._waiting.pop(0)
        self._invoked += 1

    def _answer(self, connection: int) -> None:
        draw = self._draw
        index = self._index()
        fails = draw(st.integers(0, 3)) == 3 and index not in self._streams.values()
        target = error(index) if fails else response(index)
        if draw(st.integers(0, 15)) == 15:
            target = target.replace(id_mark(index), b"some-other")
        fields = self._echo(index)
        if fails and draw(st.booleans()):
            fields.append(TYPE + draw(st.sampled_from(TYPES)))
        match draw(st.integers(0, 11)):
            case 0 | 1:
                fields.append(STREAMING)
            case 2:
                fields.append(draw(st.sampled_from(MODES)))
            case 3:
                fields.append(EXPECT)
            case 4:
                fields.append(b"Connection: close")
            case _:
                pass
        if draw(st.integers(0, 23)) == 23:
            self.moves.append(cut(connection, target, *draw(st.sampled_from(CUT)), *fields))
            return
        if draw(st.booleans()):
            body = draw(st.sampled_from(BODIES))
            made = answer(connection, target, *fields, framing=b"Content-Length: %d" % len(body), body=body)
        else:
            fields += draw(st.sampled_from([[], [DECLARED]]))
            body = draw(st.sampled_from(CHUNKS)) + draw(st.sampled_from((END, *ENDS)))
            made = answer(connection, target, *fields, framing=CHUNKED, body=body)
        if draw(st.integers(0, 3)) == 3 and b"Connection" not in made.data and EXPECT not in made.data:
            made = Step(connection, made.data + poll(connection).data, ("POST", "GET"))
            self._waiting.append(connection)
        self.moves.append(made)

    def _index(self) -> int:
        """Draw an invocation: now and then one that nobody was given."""
        least = 0 if self._draw(st.integers(0, 9)) == 9 else 1
        return self._draw(st.integers(least, max(self._invoked, least)))

    def _echo(self, index: int) -> list[bytes]:
        mine, other = echo_mark(index), echo_mark(self._index())
        usual: list[list[bytes]] = [[], [], [ECHO + mine], [ECHO + mine]]
        odd = [[ECHO + other], [ECHO], [ECHO + b"x"], [ECHO + mine + b"0"], [ECHO.lower() + b"\t" + mine + b" "]]
        twice = [[ECHO + mine, ECHO + other], [ECHO + other, ECHO + mine]]
        return list(self._draw(st.sampled_from(usual + odd + twice)))

    def _begin(self, connection: int) -> None:
        index = self._index()
        declared = self._draw(st.sampled_from([[], [DECLARED]]))
        self.moves.append(stream(connection, index, *self._echo(index), *declared))
        self._streams[connection] = index

    def _go_on_with_stream(self) -> None:
        draw = self._draw
        connection = draw(st.sampled_from(list(self._streams)))
        match draw(st.integers(0, 6)):
            case 0 | 1 | 2:
                self.moves.append(more(connection, draw(st.sampled_from(CHUNKS))))
                return
            case 3 | 4:
                self.moves.append(more(connection, END))
            case 5:
                self.moves.append(more(connection, draw(st.sampled_from(ENDS))))
            case _:
                self.moves.append(more(connection, draw(st.sampled_from([b"", b"2\r\n{"])), end=True))
        del self._streams[connection]

    def _other(self, connection: int) -> None:
        match self._draw(st.integers(0, 4)):
            case 0:
                self.moves.append(answer(connection, INIT_ERROR))
            case 1:
                self.moves.append(get(connection, PREFIX + b"/restore/next"))
            case _:
                self.moves.append(get(connection, PING))


@st.composite
def sequences(draw: st.DrawFn) -> list[Move]:
    """Draw what a runtime does while it is invoked."""
    drawing = Drawing(draw)
    drawing.begin()
    for _ in range(draw(st.integers(1, 12))):
        drawing.go_on()
    return drawing.moves


# -- what is compared


def statuses(said: Said) -> list[int]:
    """Return the statuses of its answers."""
    return [status for status, _, _ in said.messages]


Applies: TypeAlias = Callable[[bytes, Said, Said], bool]

#: As in ``test_emulator_differential``.
DIFFERENCES: Final[dict[str, tuple[Applies, Sequence[Move]]]] = {
    "RT-ERR-5: the emulator lets an error report wait while the response streams": (
        lambda data, ours, theirs: b"/error " in data and statuses(ours) == [400] and not theirs.messages,
        [poll(0), INVOKE, stream(0, 1), answer(1, error(1))],
    ),
    "RT-ERR-2: the emulator reads an error report before it judges": (
        lambda data, ours, theirs: (
            b"/error " in data
            and ours.closed
            and theirs.continues > ours.continues
            and statuses(theirs)[: len(ours.messages)] == statuses(ours)
        ),
        [answer(0, error(1), EXPECT)],
    ),
    "RT-RESP-14: the emulator does not say that it closes the connection of a body that is shorter than its length": (
        lambda data, ours, theirs: (
            b"Content-Length: 9" in data
            and ours.closed
            and theirs.closed
            and [(status, body) for status, _, body in ours.messages]
            == [(status, body) for status, _, body in theirs.messages]
        ),
        [poll(0), INVOKE, cut(0, response(1), *CUT[0])],
    ),
    "LI-ERROR-1: the emulator takes an error report that is cut or is none for one that is too large": (
        lambda data, ours, theirs: (
            b"/error " in data
            and ours.closed
            and theirs.closed
            and statuses(ours) in ([400], [410])
            and statuses(theirs) == [413]
        ),
        [poll(0), INVOKE, cut(0, error(1), *CUT[1])],
    ),
    "RS-TRAILER-8: the emulator takes a failure by the name of a refusal for that refusal": (
        lambda data, ours, theirs: (
            b"\r\n0\r\n" + TYPE in b"\r\n" + data
            and b"ResponseSizeTooLarge" in data
            and statuses(ours)[:1] == [202]
            and statuses(theirs)[:1] == [413]
        ),
        [poll(0), INVOKE, stream(0, 1, DECLARED), more(0, ENDS[3])],
    ),
    "LI-ERROR-1: the emulator refuses an error report above 1 MiB": (
        lambda data, ours, theirs: (
            b"@%d@" % (MAX_MANAGED_ERROR + 1) in data and statuses(ours) == [202] and statuses(theirs) == [413]
        ),
        [
            poll(0),
            INVOKE,
            Step(0, post(error(1), *large(MAX_MANAGED_ERROR + 1, chunked=False)), ("POST",)),
        ],
    ),
}


def data_of(move: Move) -> bytes:
    """Return what is sent."""
    return move.data if isinstance(move, Step) else b""


def difference(data: bytes, ours: Said, theirs: Said) -> str | None:
    """Return the name of the first difference that it is; ``None`` when there is none or it has no name."""
    return next((name for name, (applies, _) in DIFFERENCES.items() if applies(data, ours, theirs)), None)


def same(done: Move, ours: Said, theirs: Said) -> bool:
    """Assert that it is none."""
    assert ours == theirs, done
    return True


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Generator[Theirs, None, None]:
    """One emulator after the other."""
    with running_managed_beside(tmp_path_factory.mktemp("beside")) as running:
        yield running


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_is_one(theirs: Theirs, name: str) -> None:
    """A licence that nobody needs would hide what it was not meant for."""
    applies, moves = DIFFERENCES[name]
    with closing(both(theirs, moves)) as answers:
        *before, (done, we, they) = [next(answers) for _ in moves]
    assert all(ours == others for _, ours, others in before)
    assert we != they
    assert applies(data_of(done), we, they)
    assert difference(data_of(done), we, they) == name


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("mode", [[], [STREAMING]])
def test_the_largest_response(theirs: Theirs, mode: list[bytes], *, chunked: bool, over: int) -> None:
    """LI-PAYLOAD-1, LI-STREAM-2: of one byte more, both say 413, and the invocation is answered (RT-RESP-13)."""
    framing, body = large(limits.MAX_PAYLOAD + over, chunked=chunked)
    largest = answer(1, response(1), *mode, framing=framing.strip(), body=body)
    moves: list[Move] = [poll(0), poll(1), INVOKE, INVOKE, replace(largest, connection=2), answer(2, response(1))]
    with closing(both(theirs, moves)) as answers:
        told = [we.messages for done, we, they in answers if same(done, we, they)]
    assert [message[0] for messages in told[4:6] for message in messages] == [413 if over else 202, 400]


def test_answers_after_the_deadline(tmp_path: Path) -> None:
    """Of each late invocation the first answer is 410 and any other 400; a stream goes on (RT-MANAGED-6)."""
    begun: list[Move] = [*map(poll, range(5)), *[INVOKE] * 5, stream(0, 1), EXPIRE, more(0, CHUNKS[0])]
    late = [response(2), response(2), error(3), response(3), response(4), error(4), error(5), error(5)]
    moves = [*begun, *[answer(1, target) for target in late], more(0, END), answer(0, response(1))]
    with running_managed_beside(tmp_path, timeout_s=2) as theirs, closing(both(theirs, moves)) as answers:
        told = [we.messages for done, we, they in answers if same(done, we, they)]
    said = [message[0] for messages in told for message in messages]
    assert said == [200] * 5 + [410, 400] * 4 + [202, 400] + [200] * 5


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],  # to make a sequence shorter takes minutes; the step that fails is told
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(sequences())
@example([answer(0, INIT_ERROR), poll(0), INVOKE, answer(0, INIT_ERROR), answer(1, response(1))])
@example([poll(0), poll(1), INVOKE, answer(2, INIT_ERROR), answer(2, INIT_ERROR), INVOKE, answer(0, error(2))])
@example([poll(0), INVOKE, stream(0, 1), answer(1, response(1)), poll(2), INVOKE, answer(1, error(2)), more(0, END)])
@example([poll(0), INVOKE, answer(0, response(1), MODES[0], ECHO + b"x"), answer(0, response(1), MODES[0]), poll(0)])
def test_the_same_answers_to_many_slots(theirs: Theirs, moves: list[Move]) -> None:
    """Same status, fields and document, same end of the connection; and so the same state (RT-MANAGED-5)."""
    with closing(both(theirs, moves)) as answers:
        for done, we, they in answers:
            if we != they and difference(data_of(done), we, they):
                return
            assert same(done, we, they)

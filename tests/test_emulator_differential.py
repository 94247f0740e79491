"""Our service role and AWS's emulator give the same answers to the same bytes, request by request.

Runtimes of every make are drawn: what they ask, in which order and on which connections, and how it stands on the wire,
right and wrong. The state that a request leads to shows in the answers to those that follow. Where we differ, it is for
a reason that has a name: ``DIFFERENCES`` has them all, and what each of them is about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Final, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lambda_wire import _limits as limits
from tests.beside import (
    CHUNKED,
    INIT_ERROR,
    NEXT,
    PING,
    PREFIX,
    STREAMING,
    Message,
    Said,
    Step,
    large,
    post,
)
from tests.emulator_beside import ID, NEW, OLD, Theirs, both, running_beside

#: How many sequences are tried.
EXAMPLES: Final = int(os.environ.get("LAMBDA_WIRE_EXAMPLES", "400"))
RESPONSE = PREFIX + b"/invocation/" + ID + b"/response"
ERROR = PREFIX + b"/invocation/" + ID + b"/error"

# -- what a runtime sends

POLL: Final = Step(0, b"GET " + NEXT + b" HTTP/1.1\r\nHost: a\r\n\r\n")

METHODS = (
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"BREW",
    b"get",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"",
    b"G ET",
    b"P@ST",
)
TARGETS = (
    NEXT + b"/",
    NEXT + b"?a=b",
    b"http://some.where" + NEXT,
    b"//" + NEXT,
    NEXT.replace(b"invocation", b"Invocation"),
    NEXT.replace(b"x", b"%78"),
    NEXT + b"#x",
    RESPONSE.replace(ID, OLD),
    RESPONSE.replace(ID, b"some-other"),
    RESPONSE.replace(ID, b""),
    RESPONSE.replace(ID, ID + b"%20"),
    RESPONSE.replace(ID, ID + b"/a"),
    RESPONSE.replace(ID, ID + b"%2Fa"),
    RESPONSE.replace(ID, ID + b"%"),
    RESPONSE.replace(ID, ID + b"\xff"),
    RESPONSE.replace(b"response", b"resp%6fnse"),
    ERROR.replace(ID, OLD),
    ERROR.replace(ID, b"some-other"),
    PREFIX + b"/restore/next",
    PREFIX + b"/restore/error",
    PREFIX + b"/invocation/" + ID,
    b"/",
    b"*",
    b"",
    b"a:1",
    b"/\x01",
    b"/a b",
)
VERSIONS = (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/1", b"HTTP/1.1 ", b"http/1.1", b"HTTP/11", b"")
HOSTS = (
    b"",
    b"Host:\r\n",
    b"Host: a\r\nHost: a\r\n",
    b"host : a\r\n",
    b"Host: a b\r\n",
    b"Host: \xff\r\n",
    b" Host: a\r\n",
)
FIELDS = (
    STREAMING,
    b"Lambda-Runtime-Function-Response-Mode: Streaming",
    b"Lambda-Runtime-Function-Response-Mode:",
    b"lambda-runtime-function-response-mode: \t streaming\t ",
    STREAMING + b"\r\nLambda-Runtime-Function-Response-Mode: bogus",
    b"Lambda-Runtime-Function-Error-Type: Mine",
    b"Lambda-Runtime-Function-XRay-Error-Cause: {}",
    b"Lambda-Runtime-Invocation-Id: x",
    b"Trailer: Lambda-Runtime-Function-Error-Type",
    b"Trailer: Content-Length",
    b"Content-Type: application/json",
    b"Content-Type:",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Close, x",
    b"Connection: keep-alive, close",
    b"Expect: 100-continue",
    b"Expect: 100-Continue",
    b"Expect: x",
    b"Upgrade: h2c",
    b"X : a",
    b" X: a",
    b"X: a\r\n b",
    b"X: a\r\n\tb",
    b"X\t: a",
    b": a",
    b"X",
    b"X: a\x00b",
    b"X: a\x01b",
    b"X: a\x7fb",
    b"X: a\rb",
    b"X: a\nY: b",
    b"X\xff: a",
    b"X(: a",
    b"X: \xff\xc3\xa9",
    b"X: " + b"a" * 5000,
)
LENGTHS = (
    b"+2",
    b"-2",
    b"0x2",
    b"2, 2",
    b"2,3",
    b"2\r\nContent-Length: 2",
    b"2\r\nContent-Length: 3",
    b"02",
    b" 2 ",
    b"\t2",
    b"2 2",
    b"2a",
    b"",
    b"1_0",
    b"99999999999999999999",
    b"9223372036854775808",
    b"\xb2",
)
CODINGS = (
    b"identity",
    b"gzip",
    b"chunked, identity",
    b"identity, chunked",
    b"gzip, chunked",
    b"chunked, chunked",
    b"chunked\r\nTransfer-Encoding: chunked",
    b"chunked\r\nTransfer-Encoding: identity",
    b"Chunked",
    b" chunked ",
    b"\tchunked",
    b"chunked;a=b",
    b'"chunked"',
    b"",
    b"xchunked",
    b"chunked\x0b",
    b"chunked\r\nContent-Length: 2",
    b"chunked\r\nContent-Length: 999",
    b"chunked\r\nContent-Length: x",
)
BODIES = (
    b"2\r\n{}\r\n0\r\n\r\n",
    b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"0002;a=b\r\n{}\r\n0;c\r\n\r\n",
    b"2 \t\r\n{}\r\n00\r\n\r\n",
)
TRAILERS = (
    b"2\r\n{}\r\n0\r\nLambda-Runtime-Function-Error-Type: Mine\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX: a\r\nContent-Length: 7\r\nHost: b\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX: a\r\n b\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX : a\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX\r\n\r\n",
    b"2\r\n{}\r\n0\r\n: a\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX: a\nY: b\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX: \x01\r\n\r\n",
)
CUT = (
    (b"Content-Length: 9\r\n", b"{}"),
    (CHUNKED + b"\r\n", b"2\r\n{}\r\n0"),
    (CHUNKED + b"\r\n", b"ffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    (CHUNKED + b"\r\n", b"2\r\n{}\r\n0\r\n\n"),
    (CHUNKED + b"\r\n", b"2\r\n{}\r\n0\r\n\r\r\n"),
)
BAD_BODIES = (
    b"+2\r\n{}\r\n0\r\n\r\n",
    b"-2\r\n{}\r\n0\r\n\r\n",
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b" 2\r\n{}\r\n0\r\n\r\n",
    b"2\n{}\r\n0\r\n\r\n",
    b"2\r\n{}\n0\r\n\r\n",
    b"2\r{}\r\n0\r\n\r\n",
    b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    b"2;" + b"a" * 4090 + b"\r\n{}\r\n0\r\n\r\n",
    b"2;" + b"a" * 4091 + b"\r\n{}\r\n0\r\n\r\n",
    b"00000000000000002\r\n{}\r\n0\r\n\r\n",
    b"0000000000000002\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}}\r\n0\r\n\r\n",
    b"3\r\n{}\r\n0\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b";a\r\n0\r\n\r\n",
    b"2\r\n{}\r\n0\n\r\n",
    b"1;" + b"a" * 4000 + b"\r\n{\r\n" + (b"1;" + b"a" * 4000 + b"\r\n}\r\n") * 5 + b"0\r\n\r\n",
)


def rarely(usual: st.SearchStrategy[bytes], odd: tuple[bytes, ...], *, one_in: int) -> st.SearchStrategy[bytes]:
    """Draw what is usual, and now and then something else."""
    return st.integers(1, one_in).flatmap(lambda dice: st.sampled_from(odd) if dice == one_in else usual)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw how a body is framed, and the body, which ends."""
    match draw(st.integers(0, 14)):
        case 0 | 1:
            return b"", b""
        case 2 | 3 | 4 | 5 | 6:
            body = draw(st.sampled_from([b"", b"{}", b'{"errorType":"A"}', b"\x00\xff"]))
            return b"Content-Length: %d\r\n" % len(body), body
        case 7 | 8 | 9:
            return CHUNKED + b"\r\n", draw(st.sampled_from(BODIES))
        case 10 | 11:
            return CHUNKED + b"\r\n", draw(st.sampled_from(TRAILERS))
        case 12:
            return CHUNKED + b"\r\n", draw(st.sampled_from(BAD_BODIES))
        case 13:
            return b"Content-Length: " + draw(st.sampled_from(LENGTHS)) + b"\r\n", b"{}"
        case _:
            return b"Transfer-Encoding: " + draw(st.sampled_from(CODINGS)) + b"\r\n", BODIES[0]


ASKS = (
    ((b"GET", NEXT),) * 6
    + ((b"POST", RESPONSE),) * 6
    + ((b"POST", ERROR),) * 3
    + ((b"POST", INIT_ERROR), (b"GET", PING))
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str, bool]:
    """Draw a request, its method, and whether it is all that comes."""
    method, target = draw(st.sampled_from(ASKS))
    framing, body = (b"", b"") if method == b"GET" and draw(st.integers(0, 5)) else draw(bodies())
    end = draw(st.integers(0, 25)) == 25
    if end:
        framing, body = draw(st.sampled_from(CUT))
    method = draw(rarely(st.just(method), METHODS, one_in=15))
    target = draw(rarely(st.just(target), TARGETS, one_in=6))
    version = draw(rarely(st.just(b"HTTP/1.1"), VERSIONS, one_in=20))
    host = draw(rarely(st.just(b"Host: a\r\n"), HOSTS, one_in=20))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=2)) if not draw(st.integers(0, 2)) else []
    if target == RESPONSE and not draw(st.integers(0, 3)):
        fields.append(draw(st.sampled_from(FIELDS[:5])))  # modes
    line_end = draw(rarely(st.just(b"\r\n"), (b"\n",), one_in=20))
    lines = b"".join([field + b"\r\n" for field in fields])
    head = b"%b %b %b\r\n%b%b%b\r\n" % (method, target, version, host, framing, lines)
    blanks = b"" if end else draw(rarely(st.just(b""), (b"\r\n", b"\n\n", b"\r\n\r\n\r\n"), one_in=30))
    return head.replace(b"\r\n", line_end) + body + blanks, method.decode("latin-1"), end


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    """Draw what a runtime does."""
    made = [POLL] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 8))):
        drawn = [draw(requests())]
        if not drawn[0][2] and draw(st.integers(0, 5)) == 5:
            drawn.append(draw(requests()))  # pipelined
        connection = draw(st.sampled_from([0, 0, 0, 1]))
        data, methods, ends = zip(*drawn, strict=True)
        made.append(Step(connection, b"".join(data), methods, end=any(ends)))
    return made


# -- what is compared

#: How a head is refused that is not HTTP, and what goes with it.
HEAD_REFUSALS: Final = (400, 417, 431, 501, 505)
TRUNCATED: Final = b'"errorType":"TruncatedHTTPRequest"'
TOO_LARGE: Final = b'"errorType":"RequestEntityTooLarge"'


def is_plain(message: Message) -> bool:
    """Say whether it is the refusal of a head, in plain text or in none."""
    status, fields, _ = message
    return status in HEAD_REFUSALS and dict(fields).get("content-type", "text/plain").startswith("text/plain")


def without_text(message: Message, request: bytes) -> Message:
    """Return an answer without what is free: the text of a refused head, and ``Connection: close`` to HTTP/1.0."""
    status, fields, body = message
    if is_plain(message):
        return status, (("connection", "close"),), b""
    if b" HTTP/1.0" in request:
        fields = tuple(pair for pair in fields if pair != ("connection", "close"))
    return status, fields, body


def compared(said: Said, request: bytes) -> Said:
    """Return what of it must be the same."""
    return Said([without_text(message, request) for message in said.messages], said.continues, said.closed)


def last(said: Said) -> Message:
    """Return its last answer."""
    return said.messages[-1] if said.messages else (0, (), b"")


def is_cut(said: Said) -> bool:
    """Say whether it ends with the refusal of a body that was cut or is none."""
    return said.closed and TRUNCATED in last(said)[2]


def rest(said: Said) -> list[Message]:
    """Return all but its last answer."""
    return said.messages[:-1]


def goes_on(ours: Said, theirs: Said) -> bool:
    """Say whether they answered more than we did before we ended the connection."""
    return (
        ours.closed and theirs.messages[: len(rest(ours))] == rest(ours) and len(theirs.messages) > len(ours.messages)
    )


Applies: TypeAlias = Callable[[bytes, Said, Said], bool]


def step(data: bytes, *, end: bool = False) -> Step:
    """Return a step on the first connection."""
    return Step(0, data, (data.partition(b" ")[0].decode(),), end=end)


#: Every difference, with the rules that name it: what has it, and a sequence whose last step but the probe shows it.
#: What comes after it in the same environment is not compared.
DIFFERENCES: Final[dict[str, tuple[Applies, Sequence[Step]]]] = {
    "RT-CONN-15: the preface of HTTP/2 is judged by its version, before its method": (
        lambda data, ours, theirs: last(ours)[0] == 505 and last(theirs)[0] == 405 and b"PRI " in data,
        [step(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
    ),
    "RT-CONN-16: which of several faults of a head is told": (
        lambda data, ours, theirs: (
            ours.closed
            and theirs.closed
            and rest(ours) == rest(theirs)
            and is_plain(last(ours))
            and is_plain(last(theirs))
        ),
        [step(b"GET " + NEXT + b" HTTP/3.0\r\nhost : a\r\n\r\n")],
    ),
    "RT-CONN-16: bytes above 0x7F in the target are no HTTP to us": (
        lambda data, ours, theirs: b"\xff/response" in data and ours.closed and is_plain(last(ours)),
        [step(post(RESPONSE.replace(ID, b"\xff"), b"", b""))],
    ),
    "RT-CONN-14: a coding that is not chunked, which the emulator does not look at in HTTP/1.0": (
        lambda data, ours, theirs: b" HTTP/1.0" in data and last(ours)[0] == 501,
        [step(post(INIT_ERROR, CHUNKED + b", identity\r\n", b"", version=b"HTTP/1.0"))],
    ),
    "RT-CONN-10, RT-CONN-14: what another reader may frame in another way is the last on its connection": (
        lambda data, ours, theirs: (
            b"Transfer-Encoding" in data
            and (b"Content-Length" in data or b" HTTP/1.0" in data)
            and ours.closed
            and [message[0] for message in ours.messages]
            == [message[0] for message in theirs.messages[: len(ours.messages)]]
        ),
        [step(post(INIT_ERROR, CHUNKED + b"\r\nContent-Length: 2\r\n", BODIES[0]))],
    ),
    "RT-CONN-22: a length that is said twice in one field": (
        lambda data, ours, theirs: b"Content-Length: 2, 2" in data and theirs.closed and last(theirs)[0] == 400,
        [step(post(INIT_ERROR, b"Content-Length: 2, 2\r\n", b"{}"))],
    ),
    "RT-CONN-12: the body of a poll that is announced: the emulator neither asks nor waits for it": (
        lambda data, ours, theirs: b"Expect: 100-" in data and ours.continues > theirs.continues and theirs.closed,
        [step(b"GET " + NEXT + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}")],
    ),
    "RT-RESP-14, RS-CHUNK-7, LI-TRAILER-1: the emulator drops the connection of a body that is cut or is none": (
        lambda data, ours, theirs: is_cut(ours) and theirs.closed and theirs.messages == rest(ours),
        [POLL, step(post(RESPONSE, *CUT[0]), end=True)],
    ),
    "RT-RESP-14: the emulator does not see that the body of a poll or of an init error is cut or is none": (
        lambda data, ours, theirs: (
            is_cut(ours) and theirs.closed and rest(ours) == rest(theirs) and last(theirs)[0] in (200, 202)
        ),
        [step(post(INIT_ERROR, *CUT[1]), end=True)],
    ),
    "RT-INIT-4: the emulator reads the body of an init error before it judges": (
        lambda data, ours, theirs: (
            INIT_ERROR in data
            and ours.closed
            and last(ours)[0] == 403
            and [message[0] for message in ours.messages]
            == [message[0] for message in theirs.messages[: len(ours.messages)]]
        ),
        [POLL, step(post(INIT_ERROR, b"Content-Length: 2\r\nExpect: 100-continue\r\n", b"{}"))],
    ),
    "RS-TRAILER-13: trailers that are no fields as RFC 9112 writes them": (
        lambda data, ours, theirs: b"\r\n0\r\n" in data and (goes_on(ours, theirs) or is_cut(ours)),
        [step(post(INIT_ERROR, CHUNKED + b"\r\n", TRAILERS[2]))],
    ),
    "RT-RESP-17: an answer before the poll that would have brought it its id": (
        lambda data, ours, theirs: (
            NEW in data and b'"InvalidRequestID"' in last(ours)[2] and (last(theirs)[0] == 403 or theirs.closed)
        ),
        [step(post(RESPONSE.replace(ID, NEW), b"", b""))],
    ),
    "LI-ERROR-1: the emulator drops the connection of an error report that is too large": (
        lambda data, ours, theirs: TOO_LARGE in last(ours)[2] and theirs.closed and theirs.messages == rest(ours),
        [POLL, step(post(ERROR, *large(limits.MAX_PAYLOAD + 1, chunked=False)))],
    ),
}


def difference(data: bytes, ours: Said, theirs: Said) -> str | None:
    """Return the name of the first difference that it is; ``None`` when there is none or it has no name."""
    return next((name for name, (applies, _) in DIFFERENCES.items() if applies(data, ours, theirs)), None)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Generator[Theirs, None, None]:
    """One emulator for all."""
    with running_beside(tmp_path_factory.mktemp("beside")) as running:
        yield running


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_is_one(theirs: Theirs, name: str) -> None:
    """A licence that nobody needs would hide what it was not meant for."""
    applies, steps = DIFFERENCES[name]
    with closing(both(theirs, steps)) as answers:
        done, we, they = [next(answers) for _ in steps][-1]
    assert compared(we, done.data) != compared(they, done.data)
    assert applies(done.data, we, they)
    assert difference(done.data, we, they) == name


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("mode", [b"", STREAMING + b"\r\n"])
def test_the_largest_response(theirs: Theirs, mode: bytes, *, chunked: bool, over: int) -> None:
    """LI-PAYLOAD-1, LI-STREAM-2: of one byte more, both say 413 when all of it is read; then both go on."""
    framing, body = large(limits.MAX_PAYLOAD + over, chunked=chunked)
    steps = [POLL, step(post(RESPONSE, mode + framing, body)), POLL, step(post(RESPONSE, b"", b"")), POLL]
    with closing(both(theirs, steps)) as answers:
        for done, we, they in answers:
            assert we == they, done
            if done is steps[1]:
                assert [message[0] for message in we.messages] == [413 if over else 202]


@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(sequences())
@example([step(b"GET " + PING + b" HTTP/1.1\r\nHost: a b\r\n\r\n")])
@example([step(b"GET " + PING + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n")])
@example([step(b"GET " + PING + b" HTTP/1.1\r\nHost: a\r\nExpect: x\r\nExpect: 100-continue\r\n\r\n")])
@example([step(b"GET " + PING + b" HTTP/1.1\r\nHost: a\r\nConnection: x close\r\n\r\n")])
@example([step(b"GET " + PREFIX + b"/restore/error HTTP/1.1\r\nHost: a\r\n\r\n")])
@example([POLL, step(post(RESPONSE, FIELDS[1] + b"\r\n", b"")), POLL, step(post(ERROR, b"", b"")), POLL])
@example([POLL, step(post(RESPONSE, b"", b"\r\n\r\n")), POLL, step(post(RESPONSE, b"", b"\r\n\r\n\n")), POLL])
def test_the_same_answers_to_the_same_bytes(theirs: Theirs, steps: list[Step]) -> None:
    """Same status, same fields, same document, same end of the connection; and so the same state (RT-STATE-2)."""
    with closing(both(theirs, steps)) as answers:
        for done, we, they in answers:
            ours, others = compared(we, done.data), compared(they, done.data)
            if ours != others and difference(done.data, we, they):
                return
            assert ours == others, done

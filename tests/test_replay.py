"""The service role against every recording of the emulator's Runtime API: same status, same document, same state after.

What the runtimes of a recording sent is fed to our service role, connection by connection in the order of time, with
one lifecycle for each runtime process. What it answers is compared with what the emulator answered. The state
afterwards is compared through everything that follows in the same recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lambda_wire import _lifecycle
from lambda_wire._answers import decode_answer
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseFailed,
    ResponseFinished,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
    Violation,
)
from lambda_wire._http11 import MessageReader
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._limits import MAX_PAYLOAD
from lambda_wire._messages import MalformedMessage, MessageEnd, ResponseHead
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Role, Signal
from lambda_wire._state import LIFECYCLE, State
from tests.capture import Capture, Direction, load_all

_REPORTS = (BufferedResponse, ResponseFinished, ResponseFailed, ErrorReported, InitErrorReported, RestoreErrorReported)


#: Fields that only say how a body is framed, or when.
_UNCOMPARED = {"content-length", "date", "transfer-encoding"}

Message = tuple[int, tuple[tuple[str, str], ...], bytes]


@dataclass(slots=True)
class Line:
    """One connection of a recording, and ours beside it."""

    connection: ServiceConnection
    ours: bytearray = field(default_factory=bytearray)
    theirs: bytearray = field(default_factory=bytearray)
    they_closed: bool = False
    waiting: list[type] = field(default_factory=list)
    gone: bool = False

    def hear(self, data: bytes) -> None:
        self.connection.receive_data(data)
        self.pump()

    def pump(self) -> None:
        """Answer as the emulator's handlers do, until the connection waits for bytes or for an invocation."""
        while not self.gone:
            try:
                event = self.connection.next_event()
            except RemoteProtocolError as fault:
                if fault.reply is not None:
                    self.ours += self.connection.send(fault.reply)
                self.gone = True
                return
            if isinstance(event, (Signal, ConnectionClosed)):
                return
            if isinstance(event, (NextAsked, RestoreAsked)):
                self.waiting.append(type(event))
            elif isinstance(event, Violation):
                self.ours += self.connection.send(event.reply)
            elif isinstance(event, ContinueAsked):
                self.ours += self.connection.send(Continue())
            elif isinstance(event, PingAsked):
                self.ours += self.connection.send(Pong())
            elif isinstance(event, _REPORTS):
                self.ours += self.connection.send(Accepted())

    def give(self, invocation: Invocation) -> None:
        if self.waiting:
            answer = invocation if self.waiting.pop() is NextAsked else RestoreReady()
            self.ours += self.connection.send(answer)
            self.pump()


def replay(capture: Capture) -> dict[str, tuple[list[Message], list[Message]]]:
    """Return what we answered and what the emulator did, for each runtime connection."""
    lifecycles: dict[str, StandardLifecycle] = {}
    lines: dict[str, Line] = {}
    snap_start = "--enable-init-caching" in capture.flags
    for step in capture.steps:
        if not step.party.startswith("runtime") or not step.connection:
            continue
        lifecycle = lifecycles.setdefault(step.party, StandardLifecycle(snap_start=snap_start))
        if step.connection not in lines:
            lines[step.connection] = Line(connection=ServiceConnection(lifecycle, max_stream=MAX_PAYLOAD))
        line = lines[step.connection]
        if step.direction is Direction.SENT:
            line.hear(step.data)
        elif step.direction in (Direction.CLOSED, Direction.SHUTDOWN):
            line.hear(b"")
        elif step.direction is Direction.EOF:
            line.they_closed = True
        elif step.direction is Direction.RECEIVED:
            before = len(messages(line.theirs))
            line.theirs += step.data
            for head, body in messages(line.theirs)[before:]:
                if any(name == "lambda-runtime-aws-request-id" for name, _ in head.headers):
                    line.give(invocation_in(head, body))
    return {
        name: (compared(messages(line.ours, ended=line.gone)), compared(messages(line.theirs, ended=line.they_closed)))
        for name, line in lines.items()
    }


def compared(found: list[tuple[ResponseHead, bytes]]) -> list[Message]:
    return [
        (head.status, tuple(sorted(pair for pair in head.headers if pair[0] not in _UNCOMPARED)), body)
        for head, body in found
    ]


def invocation_in(head: ResponseHead, body: bytes) -> Invocation:
    answer = decode_answer(NextAsked, head.status, head.headers, body)
    assert isinstance(answer, Invocation)
    return answer


def messages(data: bytes | bytearray, *, ended: bool = False) -> list[tuple[ResponseHead, bytes]]:
    """Return the complete responses in ``data``."""
    reader = MessageReader(Role.CLIENT)
    for piece in (bytes(data), b"") if ended else (bytes(data),):
        if piece or ended:
            reader.receive_data(piece)
    found: list[tuple[ResponseHead, bytes]] = []
    head, body = None, b""
    while True:
        try:
            part = reader.next_event()
        except MalformedMessage:
            return found
        if isinstance(part, (Signal, ConnectionClosed)):
            return found
        if isinstance(part, ResponseHead):
            head, body = part, b""
        elif isinstance(part, bytes):
            body += part
        elif isinstance(part, MessageEnd):
            assert head is not None
            found.append((head, body))
            reader.start_next()


_TEXT = "plain text of our own: it names what was wrong and where"
_MOVES_ON = (
    "a cut or malformed body: the emulator drops the connection and its environment answers nothing more; AWS's own"
    " platform code answers 400 TruncatedHTTPRequest and moves on, and so do we, as no invocation may be lost"
)
_RESTORE = (
    "the emulator answers restore/next with the invocation, the documented service with an empty 200, and so do we"
)

_C32 = [403, 200, 202, 403, 403, 403]

#: Every difference: recording, connection -> our statuses, the emulator's statuses, the reason.
DIFFERENCES: dict[tuple[str, str], tuple[list[int], list[int], str]] = {
    ("a07_streaming_aborted", "runtime/c1"): ([200, 400], [200], _MOVES_ON),
    ("a07_streaming_aborted", "runtime/c2"): ([], [403, 403], _MOVES_ON),
    ("a07_streaming_aborted", "runtime#1/c1"): ([200, 400], [200], _MOVES_ON),
    ("a07_streaming_aborted", "runtime#1/c2"): ([], [403, 403], _MOVES_ON),
    ("a08_buffered_truncated", "runtime/c1"): ([200, 400], [200], _MOVES_ON),
    ("a08_buffered_truncated", "runtime/c2"): ([], [403], _MOVES_ON),
    ("a45_bad_chunk", "runtime/c1"): ([200, 400], [200], _MOVES_ON),
    ("a19_error_oversized", "runtime/c1"): (
        [200, 413],
        [200],
        "an error document above the limit: the emulator drops the connection; we answer 413, as managed instances do",
    ),
    ("a58_response_before_next_right_id", "runtime/c1"): (
        [400],
        [],
        "an answer before the first poll: the service role learns the id only with the poll's answer, so it is unknown",
    ),
    ("a58_response_before_next_right_id", "runtime/c2"): ([400], [], "as the line before"),
    ("a40_routing", "runtime/c27"): ([400], [400], _TEXT),
    ("a40_routing", "runtime/c29"): ([200], [200], "HTTP/1.0: we say `Connection: close`, Go leaves it out"),
    ("a40_routing", "runtime/c32"): ([505], [505], _TEXT),
    ("a40_routing", "runtime/c34"): ([505], [405], "`PRI * HTTP/2.0` is judged by its version, before its method"),
    ("a40_routing", "runtime/c35"): ([400], [400], _TEXT),
    ("a40_routing", "runtime/c36"): ([400], [400], _TEXT),
    ("a40_routing", "runtime/c37"): ([202], [202], "chunks and a length: we close the connection, as RFC 9112 wants"),
    ("a40_routing", "runtime/c38"): ([431], [431], _TEXT),
    ("a57_xray_cause_big_header", "runtime/big"): ([431], [431], _TEXT),
    ("c30_snapstart_restore_next", "runtime/cred"): (
        [404, 404, 404],
        [200, 404, 404],
        "the credentials endpoint is not part of the Runtime API that this role serves",
    ),
    ("c30_snapstart_restore_next", "runtime/rt"): ([200], [200], _RESTORE),
    ("c30_snapstart_restore_next", "runtime/rt3"): ([400], [403], "the emulator knew the id from restore/next"),
    ("c32_snapstart_restore_error", "runtime/rt"): (_C32, _C32, _RESTORE),
    ("c32_snapstart_restore_error", "runtime#1/rt"): (_C32, _C32, _RESTORE),
}


@pytest.mark.parametrize("capture", load_all(), ids=lambda capture: capture.name)
def test_service_role_answers_as_the_emulator_did(capture: Capture) -> None:
    """Same status, fields and body, in every connection, except where a difference is listed with its reason."""
    for connection, (ours, theirs) in replay(capture).items():
        difference = DIFFERENCES.get((capture.name, connection))
        if difference is None:
            assert ours == theirs, connection
        else:
            our_statuses, their_statuses, reason = difference
            assert reason
            assert ours != theirs, f"{connection}: the difference is gone, take it off the list"
            assert [message[0] for message in ours] == our_statuses, connection
            assert [message[0] for message in theirs] == their_statuses, connection


def test_every_difference_names_a_recording() -> None:
    """A listed difference that no recording shows would be a licence nobody checks."""
    recorded = {(capture.name, connection) for capture in load_all() for connection in replay(capture)}
    assert DIFFERENCES.keys() <= recorded


#: Cells of the law that no recording takes: the emulator refused nothing there, and no connection ended.
UNRECORDED = {
    (State.INIT_ERROR, Refused),
    (State.INIT_ERROR, ConnectionClosed),
    (State.INVOCATION_ERROR_RESPONSE, ConnectionClosed),
    (State.RESTORE_READY, Refused),
    (State.RESTORE_READY, ConnectionClosed),
    (State.RESTORE_ERROR, Refused),
    (State.RESTORE_ERROR, ConnectionClosed),
}


def test_the_recordings_take_every_other_cell_of_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the data are what was observed: the answers on the way were the emulator's, or are listed differences."""
    taken: set[tuple[State, type]] = set()

    class Row(dict[type, State]):
        def __init__(self, state: State) -> None:
            super().__init__(LIFECYCLE[state])
            self.state = state

        def __getitem__(self, event: type) -> State:
            taken.add((self.state, event))
            return super().__getitem__(event)

    monkeypatch.setattr(_lifecycle, "LIFECYCLE", {state: Row(state) for state in State})
    for capture in load_all():
        replay(capture)
    assert taken == {(state, event) for state, row in LIFECYCLE.items() for event in row} - UNRECORDED

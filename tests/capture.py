"""Reader of ``tests/captures``: what callers, runtimes and AWS's emulator said to each other, byte for byte.

One file is one case: four comment lines, then blocks in the order of time. A block is a head line, ``[seconds] PARTY
CONNECTION WHAT``, and for bytes their Python literals, indented. ``>>>`` was sent by the party, ``<<<`` was received
by it from the emulator. Parties are ``caller``, ``runtime`` and, for every runtime process after the first,
``runtime#1``, ``runtime#2``...

Long runs were cut when the captures were written: ``b'x'*426 + b'<<<ELIDED 6291030 BYTES>>>xxx...'`` stands for a run
whose middle is missing. Where both sides of the cut are the same byte the run is whole again here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

CAPTURES: Final = Path(__file__).parent / "captures"

_HEAD: Final = re.compile(
    r"\[ *(?P<at>\d+\.\d+)s\] (?P<party>\S+) (?P<label>\S*) (?P<mark>>>>|<<<|---|###) (?P<rest>.*)"
)
_COUNT: Final = re.compile(r"(?P<count>\d+) bytes(?:  # (?P<note>.*))?")
_ELIDED: Final = re.compile(rb"<<<ELIDED (?P<count>\d+) BYTES>>>")
_LITERAL: Final = re.compile(r"(?P<literal>b'(?:[^'\\]|\\.)*'|b\"(?:[^\"\\]|\\.)*\")(?:\*(?P<times>\d+))?(?: \+ |$)")
_SETUP: Final = re.compile(r"# emulator flags: (?P<flags>.*?) env: (?P<env>\{.*\})")
_PORTS: Final = re.compile(r"# runtime-api port (?P<runtime>\d+), caller port (?P<caller>\d+);")
#: So many equal bytes on both sides of a cut show that the cut run is of that byte.
_PROOF: Final = 8


class Direction(Enum):
    """What happened in a step."""

    CONNECTED = "connected"
    SENT = "sent"
    RECEIVED = "received"
    CLOSED = "closed"  # by the party; the note says FIN or RST
    EOF = "eof"  # by the emulator
    SHUTDOWN = "shutdown"  # the party closed its sending half
    TIMEOUT = "timeout"  # the party waited in vain
    NOTE = "note"  # what the author of the case wrote down


_EVENTS: Final = (
    ("connected", Direction.CONNECTED),
    ("closed locally", Direction.CLOSED),
    ("EOF before", Direction.EOF),
    ("peer closed", Direction.EOF),
    ("local shutdown", Direction.SHUTDOWN),
    ("TIMEOUT", Direction.TIMEOUT),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened.

    Attributes:
        at_ms: When, since the first step.
        party: ``caller``, ``runtime``, ``runtime#1``...
        connection: Name of the connection, unique within the capture; empty for a note on a whole process.
        direction: What happened.
        data: The bytes that went over the wire, whole unless ``elided``.
        note: What the capture says about it.
        elided: Some bytes of ``data`` are missing and could not be put back.
    """

    at_ms: int
    party: str
    connection: str
    direction: Direction
    data: bytes = field(repr=False)
    note: str
    elided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back on its connection, each joined from its steps."""

    connection: str
    request: bytes = field(repr=False)
    answer: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One case.

    Attributes:
        name: The file's name without its suffix, such as ``a03_streaming_ok``.
        title: What the case is about.
        flags: The emulator's extra command-line words.
        env: The emulator's extra environment.
        runtime_port: Where its Runtime API listened.
        caller_port: Where it took invocations.
        steps: Everything, in the order of time.
    """

    name: str
    title: str
    flags: tuple[str, ...]
    env: dict[str, str]
    runtime_port: int
    caller_port: int
    steps: tuple[Step, ...]

    @property
    def connections(self) -> dict[str, tuple[Step, ...]]:
        """The steps of each connection, in the order in which they were opened."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            if step.connection:
                found.setdefault(step.connection, []).append(step)
        return {connection: tuple(steps) for connection, steps in found.items()}

    @property
    def caller_exchanges(self) -> list[Exchange]:
        """What each caller asked and got, in the order of asking. Every caller has a connection of its own."""
        return [
            Exchange(
                connection=connection,
                request=b"".join(step.data for step in steps if step.direction is Direction.SENT),
                answer=b"".join(step.data for step in steps if step.direction is Direction.RECEIVED),
            )
            for connection, steps in self.connections.items()
            if steps[0].party == "caller"
        ]


def load_all() -> list[Capture]:
    """Read every capture, in the order of their names."""
    return [load(path) for path in sorted(CAPTURES.glob("*.txt"))]


def load(path: Path) -> Capture:
    """Read one capture file.

    Raises:
        ValueError: The file is not in the format, or a block has not as many bytes as its head line says.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    name = lines[0].removeprefix("# case: ")
    setup, ports = _SETUP.fullmatch(lines[2]), _PORTS.match(lines[3])
    if name != path.stem or setup is None or ports is None:
        raise ValueError(f"{path.name}: the first four lines are not those of a capture")
    return Capture(
        name=name,
        title=lines[1].removeprefix("# "),
        flags=tuple(setup["flags"].split()),
        env=ast.literal_eval(setup["env"]),
        runtime_port=int(ports["runtime"]),
        caller_port=int(ports["caller"]),
        steps=tuple(_steps(path.name, lines[4:])),
    )


def _steps(name: str, lines: list[str]) -> Iterator[Step]:
    opened: dict[tuple[str, str], int] = {}
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line:
            continue
        head = _HEAD.fullmatch(line)
        if head is None:
            raise ValueError(f"{name}: not a head line: {line!r}")
        start = position
        while position < len(lines) and lines[position].startswith("    "):
            position += 1
        try:
            yield _step(head, lines[start:position], opened)
        except ValueError as fault:
            raise ValueError(f"{name}: {line}: {fault}") from fault


def _step(head: re.Match[str], body: list[str], opened: dict[tuple[str, str], int]) -> Step:
    party, label, mark, note = head["party"], head["label"], head["mark"], head["rest"]
    data, elided = b"", False
    if mark in (">>>", "<<<"):
        direction = Direction.SENT if mark == ">>>" else Direction.RECEIVED
        count = _COUNT.fullmatch(note)
        if count is None:
            raise ValueError("no byte count")
        written = b"".join(_literals(line.strip()) for line in body)
        if len(written) != int(count["count"]):
            raise ValueError(f"{len(written)} bytes follow")
        note = count["note"] or ""
        data, elided = _expand(written)
    else:
        direction = next((meant for start, meant in _EVENTS if note.startswith(start)), Direction.NOTE)
    if direction is Direction.CONNECTED:
        opened[party, label] = opened.get((party, label), 0) + 1
    return Step(
        at_ms=round(float(head["at"]) * 1000),
        party=party,
        connection=_connection(party, label, opened),
        direction=direction,
        data=data,
        note=note,
        elided=elided,
    )


def _connection(party: str, label: str, opened: dict[tuple[str, str], int]) -> str:
    """A label is used again for each new connection of the same name; the second is ``caller/call.2``."""
    if not label:
        return ""
    nth = opened.get((party, label), 0)
    if nth == 0:
        raise ValueError("speaks before it is connected")
    return f"{party}/{label}" if nth == 1 else f"{party}/{label}.{nth}"


def _literals(line: str) -> bytes:
    """Read ``b'x'*592 + b'...'`` as Python would."""
    parts: list[bytes] = []
    position = 0
    while position < len(line):
        found = _LITERAL.match(line, position)
        if found is None:
            raise ValueError(f"not a bytes literal: {line[position : position + 40]!r}")
        literal: bytes = ast.literal_eval(found["literal"])
        parts.append(literal * int(found["times"] or 1))
        position = found.end()
    return b"".join(parts)


def _expand(written: bytes) -> tuple[bytes, bool]:
    """Put back what was elided; say whether something had to stay out."""
    whole: list[bytes] = []
    elided = False
    position = 0
    for mark in _ELIDED.finditer(written):
        before, after = written[position : mark.start()], written[mark.end() :]
        whole.append(before)
        run = before[-1:] * _PROOF
        if before.endswith(run) and after.startswith(run):
            whole.append(before[-1:] * int(mark["count"]))
        else:
            elided = True
        position = mark.end()
    whole.append(written[position:])
    return b"".join(whole), elided

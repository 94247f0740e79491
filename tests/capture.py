"""Reader of ``tests/captures``: what callers, runtimes and AWS's emulator said to each other, byte for byte.

``lambda_wire.decode.transcript`` reads the blocks of the form, and describes it. Here each file has four comment lines.
Parties are ``caller``, ``runtime`` and, for every runtime process after the first, ``runtime#1``, ``runtime#2``...
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from lambda_wire.decode.transcript import Block, read_blocks

CAPTURES: Final = Path(__file__).parent / "captures"

_SETUP: Final = re.compile(r"# emulator flags: (?P<flags>.*?) env: (?P<env>\{.*\})")
_PORTS: Final = re.compile(r"# runtime-api port (?P<runtime>\d+), caller port (?P<caller>\d+);")


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


_DIRECTIONS: Final = {">>>": Direction.SENT, "<<<": Direction.RECEIVED}
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
    data = path.read_bytes()
    lines = data.decode().splitlines()
    name = lines[0].removeprefix("# case: ")
    setup, ports = _SETUP.fullmatch(lines[2]), _PORTS.match(lines[3])
    if name != path.stem or setup is None or ports is None:
        raise ValueError(f"{path.name}: the first four lines are not those of a capture")
    try:
        steps = tuple(map(_step, read_blocks(data)))
    except ValueError as fault:
        raise ValueError(f"{path.name}: {fault}") from fault
    return Capture(
        name=name,
        title=lines[1].removeprefix("# "),
        flags=tuple(setup["flags"].split()),
        env=ast.literal_eval(setup["env"]),
        runtime_port=int(ports["runtime"]),
        caller_port=int(ports["caller"]),
        steps=steps,
    )


def _step(block: Block) -> Step:
    happened = (meant for start, meant in _EVENTS if block.note.startswith(start))
    return Step(
        at_ms=block.at_ms,
        party=block.party,
        connection=block.connection,
        direction=_DIRECTIONS.get(block.mark) or next(happened, Direction.NOTE),
        data=block.data,
        note=block.note,
        elided=block.gap is not None,
    )

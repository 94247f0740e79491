"""The form in which conversations are recorded, as in ``tests/captures``: what was said, byte for byte.

One file is one case: comment lines, the first of which begins with ``# case:``, then blocks in the order of time. A
block is a head line, ``[seconds] PARTY CONNECTION WHAT``, and for bytes their Python literals, indented. ``>>>`` was
sent by the party, ``<<<`` was received by it. A connection begins by being ``connected``, or with what it receives:
then the other end opened it.

Some bytes were left out when files were written. ``b'x'*426 + b'<<<ELIDED 6291030 BYTES>>>xxx...'`` stands for a run
whose middle is missing: where both sides of the cut are the same byte, the run is whole again here. And paths of the
machine that recorded became ``<path>``: then fewer bytes follow than the head line says.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from lambda_wire._record import field, record

__all__ = ["Block", "read_blocks"]

_INDENT: Final = "    "
_HEAD: Final = re.compile(
    r"\[ *(?P<at>\d{1,9}\.\d{1,9})s\] (?P<party>\S+) (?P<label>\S*) (?P<mark>>>>|<<<|---|###) (?P<rest>.*)"
)
_COUNT: Final = re.compile(r"(?P<size>\d{1,9}) bytes(?:  # (?P<note>.*))?")
#: As Python writes them. A number of more than nine digits is none here: so many bytes are not held in memory.
_ESCAPE: Final = r"\\(?:[\\'tnr]|x[0-9a-f]{2})"
_LITERAL: Final = re.compile(
    rf"(?P<literal>b(?:'(?:[ -&(-\[\]-~]|{_ESCAPE})*'|\"(?:[ !#-\[\]-~]|{_ESCAPE})*\"))"
    r"(?:\*(?P<times>\d{1,9}))?(?: \+ |$)"
)
_ELIDED: Final = re.compile(rb"<<<ELIDED (?:(?P<count>\d{1,9})|\d+) BYTES>>>")
_PATH: Final = b"<path>"
#: So many equal bytes on both sides of a cut show that the cut run is of that byte.
_PROOF: Final = 8


@record
class Block:
    """One thing that happened. ``>>>`` and ``<<<`` mark bytes, ``---`` and ``###`` what the note says."""

    at_ms: int
    party: str
    connection: str
    """Unique within the transcript; empty for a note on a whole process."""
    mark: str
    note: str
    data: bytes = field(repr=False)
    gap: int | None
    """Where in ``data`` bytes are missing, or ``<path>`` stands for them."""


def read_blocks(data: bytes) -> Iterator[Block]:
    """Read a transcript.

    Raises:
        ValueError: It is not in the form; the message begins with the number of the line.
    """
    opened: Counter[tuple[str, str]] = Counter()
    lines = [(number, line.decode(errors="replace")) for number, line in enumerate(data.splitlines(), 1) if line]
    end = next((at for at, (_, line) in enumerate(lines) if not line.startswith("#")), len(lines))
    while end < len(lines):
        begin, end = end, end + 1
        while end < len(lines) and lines[end][1].startswith(_INDENT):
            end += 1
        yield _block(*lines[begin], lines[begin + 1 : end], opened)


def _block(number: int, line: str, body: list[tuple[int, str]], opened: Counter[tuple[str, str]]) -> Block:
    head = _HEAD.fullmatch(line)
    if head is None:
        raise ValueError(f"line {number}: not a head line: {line[:40]!r}")
    party, label, mark, note = head["party"], head["label"], head["mark"], head["rest"]
    written, size = b"".join(literal for numbered in body for literal in _literals(*numbered)), 0
    if mark in (">>>", "<<<"):
        count = _COUNT.fullmatch(note)
        if count is None:
            raise ValueError(f"line {number}: no byte count")
        size, note = int(count["size"]), count["note"] or ""
    data, gap = _put_back(written)
    if len(written) < size and _PATH in data:
        gap = min(data.index(_PATH), len(data) if gap is None else gap)
    elif len(written) != size:
        raise ValueError(f"line {number}: {len(written)} bytes follow")
    nth = opened[party, label] + (mark == "---" and note.startswith("connected"))
    nth = opened[party, label] = nth or int(mark == "<<<")
    if label and not nth:
        raise ValueError(f"line {number}: {party} {label} speaks before it is connected")
    name = f"{party}/{label}{f'.{nth}' if nth > 1 else ''}" if label else ""
    at = round(float(head["at"]) * 1000)
    return Block(at_ms=at, party=party, connection=name, mark=mark, note=note, data=data, gap=gap)


def _literals(number: int, line: str) -> Iterator[bytes]:
    """Read ``b'x'*592 + b'...'`` as Python would."""
    position = len(_INDENT)
    while position < len(line):
        found = _LITERAL.match(line, position)
        if found is None:
            raise ValueError(f"line {number}: not a bytes literal: {line[position : position + 40]!r}")
        yield bytes(ast.literal_eval(found["literal"])) * int(found["times"] or 1)
        position = found.end()


def _put_back(written: bytes) -> tuple[bytes, int | None]:
    """Return the bytes with what was elided, and where something had to stay out."""
    whole, position, gap = bytearray(), 0, None
    for mark in _ELIDED.finditer(written):
        whole += written[position : mark.start()]
        position = mark.end()
        run = written[position : position + 1] * _PROOF
        if run and whole.endswith(run) and written.startswith(run, position) and mark["count"]:
            whole += run[:1] * int(mark["count"])
        elif gap is None:
            gap = len(whole)
    return bytes(whole + written[position:]), gap

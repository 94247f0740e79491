"""An annotated reading of captured bytes: what ``lambda-wire decode`` does.

What a capture holds is recognised by its first bytes, and an object that is all of it as JSON; judging it is the work
of the codecs and the roles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from lambda_wire._json import parse_json
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import DELIMITER
from lambda_wire._shown import one_line
from lambda_wire._stdout import write
from lambda_wire.decode.connections import read_transcript
from lambda_wire.decode.contents import Content, Messages, PreludeAndBody, read_json
from lambda_wire.decode.http import read_chunked, read_http
from lambda_wire.decode.pieces import Layer, Part, Piece, Verdict, as_json, as_line

__all__ = ["explain", "recognise", "run"]

_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_EPILOG: Final = """\
The file holds what one end sent on a connection, or what both sent, in the order of time; a status line begins an
answer, within a request only where the framing of a chunk is due. It may also be a bare chunked body, prelude, event
stream or JSON. Of a transcript, in the form of tests/captures, each connection is explained for itself. The exit code
is 1 when a rule of spec/ is broken, and the last line names the first one that is found. A capture that ends within
something is told, and breaks no rule by that. Nor is the order of requests judged, as other connections count, too:
what the service refused tells of it, and the fault is then placed at the request. A path of no known API is taken for
a function URL's, unless the answer shows that it was not."""


def run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Explain a capture; return the exit code: 1 when a rule was broken, or standard output cannot be written.

    Args:
        parser: Of the command; its arguments are added here.
        arguments: ``[options] FILE``.

    Raises:
        SystemExit: Help was printed (0), or the arguments were wrong (2).
    """
    parser.epilog = _EPILOG
    parser.add_argument("--as", dest="kind", choices=_KINDS, help="what it holds; by default its first bytes say so")
    parser.add_argument("--json", action="store_true", help="show each piece as a line of JSON")
    parser.add_argument("file", metavar="FILE", help="the bytes, or - for standard input")
    options = parser.parse_args(arguments)
    data = _read(parser, options.file)
    kind = options.kind or recognise(data)
    if not kind:
        begin = ", nor with ".join(f"{what} ({name})" for name, (_, what, _) in _KINDS.items())
        parser.error(f"cannot tell what {options.file} holds: it does not begin with {begin}; say it with --as")
    if sys.stdout is None:
        parser.error("standard output is closed")
    try:
        parts = explain(data, kind)
    except ValueError as fault:
        parser.error(f"cannot read {options.file!r} as a {kind}: {fault}")
    try:
        return _show(parts, machine=options.json)
    except BrokenPipeError:  # whoever read our output has seen enough
        return 1
    except OSError as fault:
        parser.exit(1, f"{parser.prog}: standard output cannot be written: {fault.strerror}\n")


def recognise(data: bytes) -> str:
    """Return the kind of what a capture begins as; ``""`` where that is none of those known."""
    return next((name for name, (begins, *_) in _KINDS.items() if begins(data)), "")


def explain(data: bytes, kind: str) -> list[Part]:
    """Return all that is known of a capture of that kind, piece by piece.

    Raises:
        ValueError: It is no transcript, or no JSON, and should be; the message says where.
    """
    return _KINDS[kind][2](data)


def _read(parser: argparse.ArgumentParser, name: str) -> bytes:
    what = "standard input" if name == "-" else repr(name)
    if name == "-" and sys.stdin is None:
        parser.error(f"cannot read {what}: it is closed")
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError) as fault:
        parser.error(f"cannot read {what}: {getattr(fault, 'strerror', None) or fault}")
    if not data:
        parser.error(f"{what} is empty")
    return data


def _show(parts: Sequence[Part], *, machine: bool) -> int:
    """Write them, and the verdict; return the exit code."""
    said: dict[Verdict, str] = {}
    for part in parts:
        name = one_line(part.name)
        if name and not machine:
            write(f"{name}: {len(part.data)} bytes\n".encode())
        for piece in part.pieces:
            write(f"{as_json(piece, part.name) if machine else as_line(piece, part.data)}\n".encode())
            said.setdefault(piece.verdict, _verdict(piece, name))
    size = sum(len(part.data) for part in parts)
    rest = said.get(Verdict.UNREAD) or said.get(Verdict.INCOMPLETE) or ""
    if not machine:
        write(f"{said.get(Verdict.VIOLATION) or f'no violation in {size} bytes{rest}'}\n".encode())
    return 1 if Verdict.VIOLATION in said else 0


def _verdict(piece: Piece, connection: str) -> str:
    if piece.verdict is not Verdict.VIOLATION:
        return f"; {connection or 'the capture'} {piece.what}"
    of = f" of {connection}" if connection else ""
    return f"violation of {' or '.join(piece.rules)} at byte {piece.offset}{of}: {piece.what}"


# -- what a capture may hold


def _is_chunked(data: bytes) -> bool:
    size = data.partition(b"\r\n")[0].partition(b";")[0].rstrip(b" \t")
    return 0 < len(size) < len(data) and not size.translate(None, _HEX_DIGITS)


def _is_object(data: bytes) -> bool:
    try:
        return data.startswith(b"{") and isinstance(parse_json(data), dict)
    except Malformed:
        return False


def _is_http(data: bytes) -> bool:
    words = data[:8192].partition(b"\n")[0].split()
    return data.startswith(b"HTTP/") or (
        len(words) > 1 and (words[1].startswith(b"/") or words[-1].startswith(b"HTTP/"))
    )


def _whole(data: bytes, pieces: Iterator[Piece]) -> list[Part]:
    return [Part(data=data, pieces=pieces)]


def _bare(content: Content, data: bytes) -> list[Part]:
    return _whole(data, chain(content.feed(data, 0), content.end(whole=False)))


def _chunked(data: bytes) -> list[Part]:
    return _whole(data, read_chunked(data, PreludeAndBody(Layer.CONTENT) if DELIMITER in data else None))


_Kind = tuple[Callable[[bytes], bool], str, Callable[[bytes], list[Part]]]
#: By name: how it is recognised, in code and in words, and how it is read.
_KINDS: Final[dict[str, _Kind]] = {
    "event-stream": (
        lambda data: data[:1] < b" " and data[:1] not in b"\t\r\n",
        "the length of a message",
        lambda data: _bare(Messages(Layer.WIRE), data),
    ),
    "json": (_is_object, "a whole JSON object", lambda data: _whole(data, read_json(data))),
    "prelude": (
        lambda data: data.startswith(b"{"),
        "a brace",
        lambda data: _bare(PreludeAndBody(Layer.WIRE), data),
    ),
    "chunked": (_is_chunked, "the size of a chunk", _chunked),
    "transcript": (lambda data: data.startswith(b"# case:"), "'# case:'", read_transcript),
    "http": (_is_http, "a request line or a status line", lambda data: _whole(data, read_http(data))),
}

"""What was said on each connection of a transcript, explained for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lambda_wire.decode.http import read_http
from lambda_wire.decode.pieces import Part, Piece, Verdict
from lambda_wire.decode.transcript import Block, read_blocks

__all__ = ["read_transcript"]


def read_transcript(data: bytes) -> list[Part]:
    """Explain each connection, in the order in which they began: what was sent and received, in the order of time.

    Raises:
        ValueError: It is no transcript; the message names the line.
    """
    connections: dict[str, list[Block]] = {}
    for block in read_blocks(data):
        if block.connection:
            connections.setdefault(block.connection, []).append(block)
    said = {name: b"".join(block.data for block in blocks) for name, blocks in connections.items()}
    return [
        Part(name=name, data=said[name], pieces=_explain(blocks, said[name])) for name, blocks in connections.items()
    ]


def _explain(blocks: Sequence[Block], data: bytes) -> Iterator[Piece]:
    if blocks[0].data and not _begins_message(data):
        yield _unknown(0, len(data), "is of another protocol: the other end opened it, and did not send HTTP")
        return
    begin = end = 0
    lost = False
    for block in blocks:
        if lost and _begins_message(block.data):
            yield _left_out(begin, end)
            begin, lost = end, False
        if block.gap is not None and not lost:
            yield from read_http(data[: end + block.gap], begin)
            begin, lost = end + block.gap, True
        end += len(block.data)
    yield from [_left_out(begin, end)] if lost else read_http(data, begin)


def _begins_message(data: bytes) -> bool:
    return b"HTTP/1." in data.partition(b"\n")[0]


def _left_out(begin: int, end: int) -> Piece:
    return _unknown(begin, end, f"lacks bytes at byte {begin}: the transcript leaves them out")


def _unknown(begin: int, end: int, what: str) -> Piece:
    return Piece(offset=begin, length=end - begin, what=what, verdict=Verdict.UNREAD)

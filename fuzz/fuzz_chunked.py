"""One mouth: the decoder of chunk framing."""

from __future__ import annotations

from lambda_wire._buffer import Buffer
from lambda_wire._chunked import ChunkDecoder, encode_chunk, encode_end
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers
from lambda_wire.testing import deliveries

#: Pieces, trailers, what is left in the buffer, and the fault; trailers are ``None`` for a body that has not ended.
Verdict = tuple[list[bytes], Headers | None, bytes, str]


def one_input(data: bytes) -> None:
    """The same bytes get the same verdict however they are delivered, and nothing but ``Malformed`` is raised.

    With boundaries kept the pieces are the same; without, no data is held back. Not one byte beyond the end is read.
    What was understood, written again, is understood as the same.
    """
    first, *others = [verdict(pieces, keep_boundaries=True) for pieces in deliveries(data)]
    assert all(other == first for other in others)
    chunks, trailers, left, fault = first
    at_once = [verdict(pieces, keep_boundaries=False) for pieces in deliveries(data)]
    assert len({b"".join(pieces) for pieces, *_ in at_once}) == 1
    assert all(b"".join(pieces).startswith(b"".join(chunks)) for pieces, *_ in at_once)
    assert all(rest == [trailers, left, fault] for _, *rest in at_once)
    if trailers is not None:
        assert data.endswith(left)
        again = b"".join([*map(encode_chunk, chunks), encode_end(trailers)])
        assert verdict([again + left], keep_boundaries=True) == first


def verdict(deliveries: list[bytes], *, keep_boundaries: bool) -> Verdict:
    """Return what a decoder makes of one delivery."""
    buffer = Buffer()
    decoder = ChunkDecoder(buffer, keep_boundaries=keep_boundaries)
    pieces: list[bytes] = []
    fault = ""
    try:
        for data in deliveries:
            buffer.feed(data)
            while (piece := decoder.next_piece()) is not None:
                assert piece
                pieces.append(piece)
    except Malformed as malformed:
        fault = str(malformed)
    if not decoder.finished:
        return pieces, None, b"", fault
    assert decoder.next_piece() is None
    return pieces, decoder.trailers, buffer.peek(len(buffer)), fault

"""One mouth: the prelude decoder."""

from __future__ import annotations

from lambda_wire._malformed import Malformed
from lambda_wire._prelude import Prelude, PreludeDecoder, encode_prelude, require_sendable
from lambda_wire.testing import deliveries


def one_input(data: bytes) -> None:
    """The same bytes get the same verdict however they are delivered: a prelude with its body, or ``Malformed``.

    Nothing else leaves the decoder, a fault is for ever, and what may be sent comes back equal.
    """
    first, *others = [_verdict(pieces) for pieces in deliveries(data)]
    assert all(other == first for other in others)
    if isinstance(first, tuple):
        _assert_inverse(first[0])


def _verdict(pieces: list[bytes]) -> tuple[Prelude, bytes] | str:
    decoder = PreludeDecoder()
    body = b""
    try:
        for piece in pieces:
            decoder.feed(piece)
            decoder.next_prelude()
            body += decoder.rest()
        decoder.end()
    except Malformed as fault:
        reason = str(fault)
        assert _fault(decoder) == reason
        assert decoder.rest() == b""
        return reason
    prelude = decoder.next_prelude()
    assert isinstance(prelude, Prelude)
    return prelude, body


def _fault(decoder: PreludeDecoder) -> str | None:
    try:
        decoder.end()
    except Malformed as fault:
        return str(fault)
    return None


def _assert_inverse(prelude: Prelude) -> None:
    try:
        require_sendable(prelude)
    except Malformed:
        return
    again = PreludeDecoder(max_bytes=1 << 20)
    again.feed(encode_prelude(prelude, max_bytes=1 << 20))
    assert again.next_prelude() == prelude

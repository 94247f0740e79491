"""The same bytes, as a network may deliver them."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["deliveries"]


def deliveries(data: bytes, *, seed: int = 7) -> Iterator[list[bytes]]:
    """Yield ``data`` as a network may deliver it: whole, byte by byte, and cut at random (three times).

    Args:
        data: The bytes; empty data is delivered as nothing.
        seed: Makes the random cuts repeatable.
    """
    yield [data] if data else []
    yield [data[i : i + 1] for i in range(len(data))]
    dice = random.Random(seed)  # noqa: S311  # cuts, not secrets
    for _ in range(3):
        pieces: list[bytes] = []
        start = 0
        while start < len(data):
            end = start + dice.choice((1, 2, 3, 7, 40, 500, 5000))
            pieces.append(data[start:end])
            start = end
        yield pieces

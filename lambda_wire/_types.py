"""The shapes that cross every floor."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias


__all__ = ["BytesLike", "Headers"]

BytesLike: TypeAlias = bytes | bytearray | memoryview
"""What every mouth accepts; what every hand gives is ``bytes``."""

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in order, names in lower case. Values are UTF-8 with ``surrogateescape``: no byte is lost."""

"""The numbers: each size that is a limit here stands in the rule that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambda_wire import _limits as limits
from lambda_wire._error_payload import MAX_TRAILER_DOCUMENT

PAGE = Path(__file__).resolve().parent.parent / "spec" / "limits.md"


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("LI-PAYLOAD-1", [limits.MAX_PAYLOAD]),
        ("LI-STREAM-1", [limits.MAX_STREAM]),
        ("LI-STREAM-3", [limits.STREAM_BURST, limits.STREAM_RATE]),
        ("LI-STREAM-5", [limits.MAX_UNREAD]),
        ("LI-ERROR-1", [limits.MAX_PAYLOAD]),
        ("LI-ERROR-2", [limits.MAX_ERROR_DOCUMENT]),
        ("LI-ERROR-3", [limits.MAX_ERROR_TYPE]),
        ("LI-TRAILER-1", [limits.MAX_TRAILERS]),
        ("LI-TRAILER-2", [MAX_TRAILER_DOCUMENT]),
        ("LI-XRAY-1", [limits.MAX_XRAY_CAUSE]),
        ("LI-HEAD-1", [limits.MAX_HEAD]),
        ("LI-CHUNK-1", [limits.MAX_CHUNK_LINE]),
        ("LI-EVENT-2", [limits.MAX_PAYLOAD]),
    ],
)
def test_a_number_is_that_of_its_rule(rule: str, numbers: list[int]) -> None:
    """Written as the specification writes it; what happens beyond it is shown where it is looked at."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n### {rule}\n")[2].partition("\n- Grade:")[0]
    assert [number for number in numbers if f" {number:,} " not in f" {text} ".replace("\n", " ")] == []

"""``python -m bench.endurance``: what grows is found, and nothing does in a short run."""

from __future__ import annotations

import os
import shutil

import pytest

from bench import endurance
from bench.endurance import Held, Watch
from tests.real_parts import missing


@pytest.mark.parametrize("driver", ["sync", "asyncio"])
def test_nothing_grows(driver: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not over a thousand invocations and 100 MB; the command with its own numbers takes a million and 50 GB."""
    if not (shutil.which("cc") or shutil.which("gcc") or os.environ.get("CC")):
        missing("there is no C compiler on this machine")
    assert endurance.main([driver, "--invocations", "1000", "--gigabytes", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "1,000 invocations" in said
    assert "0.1 GB streamed" in said


@pytest.mark.parametrize(
    ("leak", "grows"),
    [
        (Held(resident=10_000, descriptors=0, objects=0), "resident"),
        (Held(resident=0, descriptors=1, objects=0), "descriptors"),
        (Held(resident=0, descriptors=0, objects=10), "objects"),
    ],
)
def test_what_grows_is_found(
    leak: Held, grows: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind by itself; and a process that keeps nothing has not grown."""
    for kept, lines in ((Held(0, 0, 0), []), (leak, [grows])):
        looks = iter(
            [Held(10**7 + n * kept.resident, 9 + n * kept.descriptors, 10**4 + n * kept.objects) for n in range(100)]
        )
        monkeypatch.setattr(Held, "now", looks.__next__)
        watch = Watch("all")
        for _ in range(100):
            watch.look()
        assert watch.grew() is bool(lines)
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if "GROWS" in line] == lines

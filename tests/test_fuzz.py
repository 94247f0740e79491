"""The fuzz targets and what drives them: every target begins with messages that it understands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fuzz import drive, fuzz_invoke, fuzz_invoke_service, fuzz_runtime, fuzz_service, keep
from fuzz.drive import CORPUS, load, seeds
from fuzz.seeds import SEEDS

ROOT = Path(__file__).resolve().parent.parent
TARGETS = sorted((ROOT / "fuzz").glob("fuzz_*.py"))

#: Target -> every event that its seeds let it hear.
HEARD: dict[str, tuple[Callable[[bytes], Iterable[object]], str]] = {
    "fuzz_runtime": (
        lambda seed: (event for each in fuzz_runtime.SITUATIONS for event in fuzz_runtime.tell(each, [seed])[0]),
        "Accepted ConnectionClosed Invocation Pong Refused RestoreReady",
    ),
    "fuzz_service": (
        lambda seed: fuzz_service.tell([seed])[0],
        (
            "NextAsked BufferedResponse ResponseStarted ResponseChunk ResponseFinished ResponseFailed ErrorReported"
            " InitErrorReported RestoreAsked RestoreErrorReported PingAsked Violation"
        ),
    ),
    "fuzz_invoke": (
        lambda seed: (event for each in fuzz_invoke.SITUATIONS for event in fuzz_invoke.tell(each, [seed])[0]),
        "ConnectionClosed InvokeAccepted InvokeAnswered InvokeComplete InvokeFailed InvokeRefused PayloadChunk",
    ),
    "fuzz_invoke_service": (
        lambda seed: fuzz_invoke_service.tell([seed])[0],
        "ContinueAsked InvokeAsked InvokeViolation OtherAsked",
    ),
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda path: path.stem)
def test_every_target_has_seeds_that_hold(target: Path) -> None:
    """Each seed is within what is tried, no two are the same, and the invariant holds for them."""
    made = seeds(target)
    assert len(set(made)) == len(made)
    assert max(map(len, made)) < 1024
    for seed in made:
        load(target).one_input(seed)


def test_no_seed_is_for_a_target_that_is_not_there() -> None:
    """A target that was renamed would be left without."""
    assert SEEDS.keys() == {path.stem for path in TARGETS}
    assert SEEDS.keys() >= {path.stem for path in CORPUS.iterdir()}


@pytest.mark.parametrize("target", HEARD)
def test_seeds_let_a_target_hear_every_event(target: str) -> None:
    """Invocations, chunks, ends and refusals: what chance does not write."""
    tell, known = HEARD[target]
    assert {type(event).__name__ for seed in SEEDS[target]() for event in tell(seed)} == set(known.split())


def test_a_target_without_seeds_fails() -> None:
    """It would try next to nothing, and say that it found no fault."""
    with pytest.raises(LookupError, match=r"fuzz_nothing\.py has no seeds"):
        seeds(ROOT / "fuzz" / "fuzz_nothing.py")


def test_the_driver_runs_a_target() -> None:
    """By Hypothesis or by atheris, whichever is there, to the end of its time, which is at once."""
    command = [sys.executable, "-bb", "-m", "fuzz.drive", "fuzz/fuzz_prelude.py", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stderr


def test_what_takes_a_new_branch_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest that takes it, as text; what takes none is not, and nothing is kept twice."""
    for module in (drive, keep):
        monkeypatch.setattr(module, "CORPUS", tmp_path / "corpus")
    found = tmp_path / "found"
    found.mkdir()
    for number, data in enumerate((b"text", b"%41", b"t", b"\xff" * 600)):
        (found / str(number)).write_bytes(data)
    target = ROOT / "fuzz" / "fuzz_percents.py"
    monkeypatch.setattr(sys, "argv", ["keep", str(target), str(found)])
    for _ in range(2):
        keep.main()
        assert (tmp_path / "corpus" / "fuzz_percents.txt").read_text() == "b't'\n"
    assert seeds(target) == [*SEEDS["fuzz_percents"](), b"t"]

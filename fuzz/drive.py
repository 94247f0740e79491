"""Drive one fuzz target for a bounded time: with atheris where it is installed, with Hypothesis alone elsewhere.

A target is a file ``fuzz/fuzz_*.py`` with ``one_input(data: bytes) -> None``, whose docstring is the invariant. Its
seeds, if it has any, are the files in ``fuzz/seeds/TARGET/``, where TARGET is the file's name without ``fuzz_``.

Usage: ``python -m fuzz.drive fuzz/fuzz_prelude.py SECONDS``
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

#: No mouth needs more to go wrong.
_MAX_INPUT = 8192


def load(path: Path) -> ModuleType:
    """Import a target by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seeds(path: Path) -> list[bytes]:
    """Return what the target's author gave it to begin with."""
    folder = path.parent / "seeds" / path.stem.removeprefix("fuzz_")
    return [seed.read_bytes() for seed in sorted(folder.glob("*")) if seed.is_file()]


def with_atheris(path: Path, seconds: int) -> None:
    """Fuzz by coverage. Does not return: libFuzzer ends the process."""
    atheris = importlib.import_module("atheris")  # optional, and not typed

    with atheris.instrument_imports(include=["lambda_wire"]):
        target = load(path)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(path)):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={_MAX_INPUT}",
            "-timeout=20",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup([str(path), *options, f"-artifact_prefix={tempfile.gettempdir()}/", corpus], target.one_input)
        atheris.Fuzz()


def with_hypothesis(path: Path, seconds: int) -> None:
    """Try the seeds, then whatever Hypothesis thinks of, until the time is over."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    one_input: Callable[[bytes], None] = load(path).one_input
    given_seeds = seeds(path)
    for seed in given_seeds:
        one_input(seed)
    strategy = st.binary(max_size=_MAX_INPUT)
    if given_seeds:
        strategy |= st.builds(
            _spliced, st.sampled_from(given_seeds), st.integers(0, _MAX_INPUT), st.binary(max_size=16)
        )
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    quiet = settings(max_examples=1000, deadline=None, database=None, suppress_health_check=slow)
    end = time.monotonic() + seconds
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        quiet(given(strategy)(one_input))()
        rounds += 1
    sys.stdout.write(f"{path.stem}: {len(given_seeds)} seeds and {rounds} x 1000 examples by Hypothesis, no fault\n")


def _spliced(seed: bytes, at: int, data: bytes) -> bytes:
    """Return the seed with some bytes overwritten, so that the rest still makes sense."""
    at %= len(seed) + 1
    return seed[:at] + data + seed[at + len(data) :]


def main() -> None:
    """Fuzz the target that the command line names."""
    path, seconds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    if importlib.util.find_spec("atheris") is None:
        with_hypothesis(path, seconds)
    else:
        with_atheris(path, seconds)


if __name__ == "__main__":
    main()

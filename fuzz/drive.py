"""Drive one fuzz target for a bounded time: with atheris where it is installed, with Hypothesis alone elsewhere.

A target is a file ``fuzz/fuzz_*.py`` with ``one_input(data: bytes) -> None``, whose docstring is the invariant. Its
seeds are made in ``fuzz/seeds.py``; a target without any fails, since chance alone writes no message. Beside them it
begins with its corpus, ``fuzz/corpus/fuzz_*.txt``: what was found once to take a branch that no seed takes.

Usage: ``python -m fuzz.drive fuzz/fuzz_prelude.py SECONDS [DIRECTORY]``

With a directory, atheris keeps there all that it finds worth keeping, and goes on from there the next time. So for
hours, and then for a better corpus::

    LAMBDA_WIRE_FUZZ_SECONDS=14400 python -m nox -s fuzz -- fuzz/fuzz_prelude.py
    python -m fuzz.keep fuzz/fuzz_prelude.py .fuzz/fuzz_prelude
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

#: Of each target that has one: a bytes literal a line, so that it can be read and reviewed.
CORPUS = Path(__file__).parent / "corpus"
#: No mouth needs more to go wrong.
_MAX_INPUT = 8192
#: How many inputs are tried between two looks at the clock.
_EXAMPLES = 200


def load(path: Path) -> ModuleType:
    """Import a target by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def corpus(path: Path) -> list[bytes]:
    """Return what was kept of what was found for a target."""
    kept = CORPUS / f"{path.stem}.txt"
    return [ast.literal_eval(line) for line in kept.read_text("ascii").splitlines()] if kept.exists() else []


def seeds(path: Path) -> list[bytes]:
    """Return what a target begins with.

    Raises:
        LookupError: It has none.
    """
    from fuzz.seeds import SEEDS  # not before what it imports is instrumented

    made = SEEDS[path.stem]() if path.stem in SEEDS else []
    if not made:
        raise LookupError(f"{path.name} has no seeds: add them to fuzz/seeds.py")
    return made + corpus(path)


def with_atheris(path: Path, seconds: int, directory: Path | None) -> None:
    """Fuzz by coverage. Does not return: libFuzzer ends the process."""
    atheris = importlib.import_module("atheris")  # optional, and not typed

    with atheris.instrument_imports(include=["lambda_wire"]):
        target = load(path)
    with tempfile.TemporaryDirectory() as begun:
        for number, seed in enumerate(seeds(path)):
            (Path(begun) / str(number)).write_bytes(seed)
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        corpora = [str(directory), begun] if directory is not None else [begun]  # what is found goes to the first
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={_MAX_INPUT}",
            "-timeout=20",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup([str(path), *options, f"-artifact_prefix={tempfile.gettempdir()}/", *corpora], target.one_input)
        atheris.Fuzz()


def with_hypothesis(path: Path, seconds: int) -> None:
    """Try the seeds, then what Hypothesis makes of them and of nothing, until the time is over."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    one_input: Callable[[bytes], None] = load(path).one_input
    given_seeds = seeds(path)
    for seed in given_seeds:
        one_input(seed)
    told = st.lists(st.sampled_from(given_seeds), min_size=1, max_size=3).map(b"".join)
    edited = st.builds(_spliced, told, st.integers(0, _MAX_INPUT), st.integers(0, 16), st.binary(max_size=16))
    strategy = told | edited | st.binary(max_size=_MAX_INPUT)
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    quiet = settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=slow)
    end = time.monotonic() + seconds
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        quiet(given(strategy)(one_input))()
        rounds += 1
    sys.stdout.write(
        f"{path.stem}: {len(given_seeds)} seeds and {rounds} x {_EXAMPLES} examples by Hypothesis, no fault\n"
    )


def _spliced(told: bytes, at: int, removed: int, data: bytes) -> bytes:
    """Return what was told with some bytes replaced, so that the rest still makes sense."""
    at %= len(told) + 1
    return told[:at] + data + told[at + removed :]


def main() -> None:
    """Fuzz the target that the command line names."""
    path, seconds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    directory = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    if importlib.util.find_spec("atheris") is None:
        with_hypothesis(path, seconds)
    else:
        with_atheris(path, seconds, directory)


if __name__ == "__main__":
    main()

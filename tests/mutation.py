"""Mutation testing of one module: is there a change to it that its own tests do not notice?

``python -m nox -s mutation -- lambda_wire/_prelude.py`` makes every change that mutmut knows to the functions of that
module, one at a time, and runs the tests of its own file, ``tests/test_prelude.py``, those of the rules that faults
name, and what ``MORE_TESTS`` adds. A change that they let pass is a mutant that survived. Each is killed by a better
test, made impossible by simpler code, or explained in ``surviving_mutants.toml``. What is neither killed nor explained
fails the run, and so does an explanation of what no longer survives.

mutmut changes what stands in functions and methods. It leaves alone constants, the table of transitions, f-strings, and
functions that are decorated, as properties are. It adds calls and an import of its own, so tests that compare how many
calls there are, or go as deep as they can, or count imports, are not run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = ROOT / "tests" / "surviving_mutants.toml"

#: What the tests of floors 0-4 read.
COPIED = ("lambda_wire", "tests", "fuzz", "spec", "pyproject.toml")

#: A codec's name has no casing: what changes that alone is no mutant.
CODECS = ("ascii", "latin-1", "unicode_escape", "utf-8")

#: Module -> the test files that test it beside its own, for those that have none or share one.
MORE_TESTS: dict[str, tuple[str, ...]] = {
    "_event_headers": ("test_event_stream",),
    "_server_turns": ("test_turns",),
}

_OPTIONS = """
[tool.mutmut]
source_paths = ["lambda_wire"]
only_mutate = ["lambda_wire/{module}.py"]
also_copy = ["fuzz", "spec"]
do_not_mutate_patterns = ["case _ as never:", "assert_never"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = [
    "--hypothesis-profile=mutation", "--assert=plain", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.mutation",
    "-k", "not test_however_delivered and not never_recurses_out and not test_it_imports_nothing",
]
"""

#: The function, the lines that were there, and those that came in their place.
Mutant: TypeAlias = tuple[str, str, str]


def tests_of(module: str) -> list[str]:
    """Return the files that test a module, from the root."""
    names = (f"test{module}", "test_rules", *MORE_TESTS.get(module, ()))
    return [path for name in names if (ROOT / (path := f"tests/{name}.py")).exists()]


def prepare(room: Path, module: str) -> None:
    """Put a copy of all that is needed into a room of its own, where mutmut may write."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, room / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, room)
    with (room / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(_OPTIONS.format(module=module, tests=json.dumps(tests_of(module))))


def outcomes(room: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of every mutant, and what became of it."""
    for line in _mutmut(room, "results", "--all", "true").splitlines():
        name, _, outcome = line.strip().partition(": ")
        yield name, outcome


def mutant(room: Path, name: str) -> Mutant:
    """Return which function was changed, and how."""
    lines = _mutmut(room, "show", name).splitlines()
    was = [line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---")]
    now = [line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")]
    module, _, mangled = name.removeprefix("lambda_wire.").partition(".")
    function = mangled.rpartition("__mutmut_")[0].removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    return f"{module}.{function}", "\n".join(was), "\n".join(now)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longer to fail behind the examples: properties and costs. pytest calls this in the room."""
    items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis") or "TestCost" in item.nodeid)


def is_casing_of_a_codec(it: Mutant) -> bool:
    """Say whether nothing but a codec's name was changed, and that only in its casing."""
    _, was, now = it
    return any(now.replace(f'"{codec.upper()}"', f'"{codec}"') == was for codec in CODECS)


def explained(module: str) -> tuple[set[Mutant], set[str]]:
    """Return what is known to survive in a module: mutants, and functions of which any may."""
    told = [it for it in tomllib.loads(EXPLAINED.read_text("utf-8"))["mutant"] if it["why"]]
    told = [it for it in told if it["function"].startswith(f"{module}.")]
    mutants = {(it["function"], it["was"].strip(), it["now"].strip()) for it in told if it.get("was")}
    return mutants, {it["function"] for it in told if not it.get("was")}


def main() -> int:
    """Judge the module that the command line names."""
    module = Path(sys.argv[1]).stem
    with tempfile.TemporaryDirectory() as made:
        room = Path(made)
        prepare(room, module)
        with (room / "log").open("wb") as log:
            run = subprocess.run(
                [sys.executable, "-bb", "-m", "mutmut", "run", *sys.argv[2:]], cwd=room, stdout=log, stderr=log
            )
        if run.returncode:
            sys.stdout.write((room / "log").read_text(encoding="utf-8", errors="replace")[-8000:])
            return run.returncode
        became = dict(outcomes(room))
        passed = {mutant(room, name) for name, outcome in became.items() if outcome not in ("killed", "timeout")}
    known, unseen = explained(module)
    passed = {it for it in passed if not is_casing_of_a_codec(it) and it[0] not in unseen}
    for function, was, now in sorted(passed - known):
        sys.stdout.write(f"\n[[mutant]]  # survived\nfunction = '{function}'\nwas = '''{was}'''\nnow = '''{now}'''\n")
    for function, was, _ in sorted(known - passed):
        sys.stdout.write(f"\nexplained, and does not survive: {function}: {was}\n")
    killed = sum(outcome in ("killed", "timeout") for outcome in became.values())
    sys.stdout.write(
        f"{module}: {killed + len(passed)} mutants, {killed} killed, {len(passed & known)} explained,"
        f" {len(passed - known)} survived\n"
    )
    return int(passed != known)


def _mutmut(room: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=room, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())

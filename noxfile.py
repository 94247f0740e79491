"""What must hold before anything is merged: ``python -m nox`` runs it all, ``python -m nox -s lint`` a part.

The Pythons are those of the classifiers in ``pyproject.toml``; one that this machine lacks is skipped, and said.
With ``CI=true`` in the environment a missing real part (see ``tests/real_parts.py``) fails its tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "verifytypes", "coverage", "tests", "fuzz"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(str(ROOT / "pyproject.toml"))
PYTHONS = nox.project.python_versions(PROJECT)
LINTERS = PROJECT["project"]["optional-dependencies"]["lint"]

#: Floors 0-5 are covered wholly by the tests; from floor 6 up the world has its say.
CORE = "lambda_wire/__init__.py,lambda_wire/_*.py,lambda_wire/exchanges/*.py"
NOT_CORE = ",".join(
    f"lambda_wire/{room}.py"
    for room in ("__main__", "_blocking_caller", "_facade", "_line", "_sockets", "_stdout", "_tls", "_transport")
)

#: What the tests of drivers and programs begin with: slow, and the floors below have tests of their own.
ABOVE = (
    "bench",
    "bootstrap",
    "drivers",
    "emulator",
    "example",
    "invoke_command",
    "local",
    "openapi",
    "readme",
    "real_parts",
    "sockets",
    "sync",
)

#: Pytest, one process for each core. The tests of one file stay together: some share what is costly to start.
PYTEST = ("python", "-bb", "-m", "pytest", "--numprocesses=auto", "--dist=loadfile")

#: How long each fuzz target may run.
FUZZ_SECONDS = os.environ.get("LAMBDA_WIRE_FUZZ_SECONDS", "10")


def works(interpreter: str) -> bool:
    """Return whether an interpreter really runs: pyenv's shims exist for versions that are not activated."""
    if shutil.which(interpreter) is None:
        return False
    return subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603  # ours


def pyenv_directories(version: str) -> list[Path]:
    """Return where pyenv, if there is one, keeps this version, the newest first."""
    program = shutil.which("pyenv")
    if program is None:
        return []
    told = subprocess.run([program, "root"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  # ours
    # Without PYENV_ROOT pyenv looks in the home directory; the program itself lies in its root's bin or libexec.
    roots = {Path(told), Path(program).resolve().parent.parent}
    found = {directory for root in roots for directory in root.glob(f"versions/{version}.*/bin")}
    return sorted(found, key=lambda path: (len(path.parts[-2]), path), reverse=True)


def available(version: str) -> bool:
    """Return whether a Python can be had, and put the directory it lies in on the path if it is not there yet."""
    name = f"python{version}"
    if works(name):
        return True
    for directory in pyenv_directories(version):
        if works(str(directory / name)):
            os.environ["PATH"] = os.pathsep.join([str(directory), os.environ["PATH"]])
            return True
    sys.stderr.write(f"nox: {name} is not on this machine; its tests are skipped\n")
    return False


AVAILABLE = [version for version in PYTHONS if available(version)]
if not AVAILABLE:
    sys.exit(f"nox: none of the Pythons {', '.join(PYTHONS)} is on this machine")
OLDEST = AVAILABLE[0]


def strict_environment() -> dict[str, str]:
    """Where a machine judges, what is missing is a failure and not a skip."""
    return {"LAMBDA_WIRE_REQUIRE_REAL_PARTS": "1"} if os.environ.get("CI") == "true" else {}


@nox.session(python=AVAILABLE)
def tests(session: nox.Session) -> None:
    """Run all tests; the bench's with the oldest Python only, and of the others there what ``coverage`` leaves out."""
    session.install("-e", ".[test]")
    above = [str(path) for name in ABOVE for path in sorted((ROOT / "tests").glob(f"test_{name}*.py"))]
    again = ["--ignore-glob=*/test_bench*"]
    chosen = session.posargs or (above if session.python == OLDEST else again)
    examples = {} if session.python == OLDEST else {"LAMBDA_WIRE_EXAMPLES": "20"}
    session.run(*PYTEST, *chosen, env=strict_environment() | examples)


@nox.session(python=OLDEST)
def coverage(session: nox.Session) -> None:
    """Run the tests of floors 0-5 and demand that they take every branch there."""
    session.install("-e", ".[test]")
    data = str(Path(session.create_tmp()) / "coverage")
    environment = strict_environment() | {"COVERAGE_FILE": data}
    others = [f"--ignore-glob=*/test_{name}*" for name in ABOVE]
    session.run(*PYTEST, "--cov", "--cov-report=", *others, *session.posargs, env=environment)
    report = ["--include", CORE, "--omit", NOT_CORE, "--show-missing", "--skip-covered", "--fail-under=100"]
    session.run("python", "-m", "coverage", "report", "--precision=2", *report, env=environment)


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*LINTERS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=OLDEST)
def types(session: nox.Session) -> None:
    """Check types, by mypy as each Python sees them and by pyright."""
    session.install("-e", ".[test]", *LINTERS)
    for version in PYTHONS:
        session.run("mypy", "--python-version", version)
    session.run("pyright")


@nox.session(python=OLDEST)
def verifytypes(session: nox.Session) -> None:
    """Demand that every public name of the installed package has a complete type."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would install what it finds there, however old
    session.install(".", *LINTERS)
    with session.chdir(session.create_tmp()):  # so that the installed package is judged, and not the tree
        session.run("pyright", "--verifytypes", "lambda_wire", "--ignoreexternal")


@nox.session(python=OLDEST)
def fuzz(session: nox.Session) -> None:
    """Run every fuzz target, or those that are named, for a bounded time."""
    session.install("-e", ".[test]")
    # Where there is no wheel of atheris for this Python, Hypothesis drives the targets alone.
    session.install("--only-binary=:all:", "atheris", success_codes=[0, 1], silent=True)
    targets = sorted(str(target.relative_to(ROOT)) for target in (ROOT / "fuzz").glob("fuzz_*.py"))
    for target in session.posargs or targets:
        session.run("python", "-bb", "-m", "fuzz.drive", target, FUZZ_SECONDS, f".fuzz/{Path(target).stem}")


@nox.session(python=OLDEST, default=False)
def mutation(session: nox.Session) -> None:
    """Change the named modules of floors 0-4, and see that their tests notice: half a minute to many for each.

    ``python -m nox -s mutation -- lambda_wire/_prelude.py lambda_wire/_chunked.py``
    """
    session.install("-e", ".[test]", "mutmut>=3.8")
    for module in session.posargs:
        session.run("python", "-m", "tests.mutation", module)

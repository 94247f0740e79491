"""The stand-ins take what ``typing`` takes, and cost nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lambda_wire import _typing as stand_ins


def test_parameters_mean_nothing() -> None:
    """A class may have them, and be given them, as with ``typing``."""
    generic: Any = stand_ins.Generic  # no checker knows what it stands for here
    box: Any = type("Box", (generic[stand_ins.TypeVar("parameter", int, bound=str)],), {})
    assert box[int] is box
    assert box.__mro__ == (box, generic, object)


def test_what_was_forgotten_is_named() -> None:
    """Where a checker proves that nothing gets, something may: from code that no checker has seen."""
    with pytest.raises(AssertionError, match="expected to have thought of everything, got 'new'"):
        stand_ins.assert_never("new")


def test_it_imports_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import lambda_wire._typing; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) <= {"__future__", "lambda_wire", "lambda_wire._typing"}

"""The three facades are one: same names, same parameters, same documented exceptions; and what each costs to import."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from lambda_wire import sync
from tests.driver_parts import DRIVERS, LOOPS, Driver
from tests.real_parts import ROOT, need_module

#: What is said otherwise of what is awaited.
SAME: Final = {
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
    "StopIteration": "StopAsyncIteration",
}
#: Where the caller owns the scope, there is none of these (house style, rule 52).
OF_TIME: Final = {"timeout", "TimeoutError", "ValueError"}
CLASSES: Final = ("Caller", "ResponseStream", "Runtime", "StreamedAnswer")
FUNCTIONS: Final = ("connect", "connect_caller")


@pytest.fixture(params=["asyncio", "trio"])
def facade(request: pytest.FixtureRequest) -> ModuleType:
    need_module(request.param)
    return importlib.import_module(f"lambda_wire.{request.param}")


def members(holder: type) -> dict[str, Any]:
    """Return what a class has for its users, by the name that it has in the blocking facade."""
    back = {other: name for name, other in SAME.items()}
    found = {back.get(name, name): inspect.getattr_static(holder, name) for name in dir(holder)}
    return {
        name: value.fget if isinstance(value, property) else value
        for name, value in found.items()
        if name in SAME or not name.startswith("_")
    }


def parameters(function: Any) -> list[tuple[str, object, object, object]]:
    """Return name, kind, default and annotation of each."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, each.annotation) for each in found if each.name not in OF_TIME]


def documented(function: Any, section: str) -> set[str]:
    """Return the names that a section of a docstring lists."""
    text = inspect.getdoc(function) or ""
    _, _, rest = text.partition(f"{section}:\n")
    names = re.findall(r"^    (\w+): ", rest.partition("\n\n")[0], re.MULTILINE)
    return {SAME.get(name, name) for name in names} - OF_TIME


def assert_same(ours: Any, theirs: Any, name: str) -> None:
    assert parameters(ours) == parameters(theirs), name
    assert inspect.signature(ours).return_annotation == inspect.signature(theirs).return_annotation, name
    for section in ("Args", "Raises"):
        assert documented(ours, section) == documented(theirs, section), f"{section} of {name}"


def test_the_parser_of_docstrings_finds_what_is_there() -> None:
    """A parity of nothing would prove nothing."""
    assert {"CallRefused", "ConnectionLost", "Malformed", "Busy"} <= documented(sync.Caller.invoke, "Raises")
    assert {"payload", "qualifier", "trace_id"} <= documented(sync.Caller.invoke, "Args")
    assert documented(sync.connect, "Raises") == {"Malformed"}
    assert documented(sync.StreamedAnswer.__next__, "Raises") > {"StopAsyncIteration"}


def test_the_same_names(facade: ModuleType) -> None:
    """Everything that is there has a counterpart, and nothing else."""
    assert facade.__all__ == sync.__all__ == [*CLASSES, *FUNCTIONS]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(facade: ModuleType, name: str) -> None:
    """The same parameters, the same faults, at once: there is nothing to await."""
    assert_same(getattr(facade, name), getattr(sync, name), name)
    assert not inspect.iscoroutinefunction(getattr(facade, name))


@pytest.mark.parametrize("name", CLASSES)
def test_classes(facade: ModuleType, name: str) -> None:
    """The same methods with the same parameters and faults, each to be awaited; the same properties."""
    ours, theirs = members(getattr(facade, name)), members(getattr(sync, name))
    assert set(ours) == set(theirs)
    for method in set(theirs) - {"__iter__"}:
        assert_same(ours[method], theirs[method], f"{name}.{method}")
        is_property = isinstance(inspect.getattr_static(getattr(sync, name), method, None), property)
        assert inspect.iscoroutinefunction(ours[method]) is not is_property, f"{name}.{method}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("lambda_wire.sync", {"asyncio", "trio", "ssl", "_ssl", "lambda_wire._transport", "lambda_wire._facade"}),
        ("lambda_wire.asyncio", {"trio", "lambda_wire.trio", "lambda_wire.sync", "lambda_wire._sockets"}),
        ("lambda_wire.trio", {"asyncio", "lambda_wire.asyncio", "lambda_wire.sync", "lambda_wire._sockets"}),
    ],
)
def test_who_imports_one_driver_pays_for_no_other(module: str, absent: set[str]) -> None:
    """Each loads its own library only; the blocking one no TLS either before it is spoken."""
    if module == "lambda_wire.trio":
        need_module("trio")
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
    loaded = set(json.loads(run.stdout))
    assert module in loaded
    assert loaded.isdisjoint(absent)


@pytest.mark.parametrize("driver", LOOPS, ids=lambda driver: driver.name)
def test_an_address_needs_no_thread(driver: Driver) -> None:
    """Only a name is looked up, and that in a thread: a dial to ``127.0.0.1`` starts none."""
    driver.need()
    before = threading.active_count()

    async def dial() -> None:
        runtime = driver.connect("127.0.0.1:1")
        with pytest.raises(Exception, match="nothing was sent"):
            await runtime.next_invocation()
        assert threading.active_count() == before
        await runtime.close()

    driver.run(dial)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_nothing_is_left_open(driver: Driver) -> None:
    """Every behaviour again, with warnings as errors and in development mode: not a word on stderr.

    No coroutine that was not awaited, no socket that was not closed, no task that is pending.
    """
    driver.need()
    files = [str(Path(__file__).with_name(name)) for name in ("test_drivers.py", "test_drivers_cancelled.py")]
    slow = "command or emulator or anothers or refused or looked_up or function_that_fails"  # and what logs by itself
    quick = f"{driver.name} and not ({slow}) and (not doubled or 0)"
    command = [sys.executable, "-X", "dev", "-W", "error", "-bb", "-m", "pytest", "-q", "-s", "-k", quick, *files]
    plain = ["-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "no:threadexception", "-p", "no:cov"]
    run = subprocess.run([*command, *plain], capture_output=True, text=True, check=False, timeout=100, cwd=ROOT)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout[-3000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) > 20

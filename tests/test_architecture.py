"""The floors of the house, and the rules that the imports, the sources and the front door must keep."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import lambda_wire
from lambda_wire._heads import USER_AGENT

PACKAGE = Path(__file__).resolve().parent.parent / "lambda_wire"
FRONT_DOOR = "__init__"

#: Every room and its floor. Imports go down: the imported room's number is smaller than the importer's. Rooms with the
#: same number never meet; a fraction is a landing between two floors, with its reason.
FLOORS: dict[str, float] = {
    "_typing": -1,  # words for the words
    # words
    "_limits": 0,
    "_malformed": 0,
    "_names": 0,
    "_record": 0,
    "_shown": 0,
    "_signals": 0,
    "_types": 0,
    "_fields": 0.5,  # refuses with Malformed, as do the next two
    "_addresses": 0.6,  # a host is made of what needs no percents
    "_json": 0.5,
    "_percents": 0.5,
    # values
    "_buffer": 1,
    "_whole_body": 1,
    "_events": 1,
    "_event_headers": 1,
    "_invoke_events": 1,
    # codecs and the law
    "_chunked": 2,
    "_error_payload": 2,
    "_errors": 2,  # a remote fault carries the event that answers it
    "_event_stream": 2,
    "_invocation": 2,
    "_prelude": 2,
    "_state": 2,
    "_http_event": 2.5,  # what it turns into an HTTP head is a prelude
    # HTTP, and what a handler may return
    "_heads": 2,  # how a head is written; blind to how one is read
    "_messages": 2,
    "_plain_heads": 2,
    "_h11": 2.5,  # judges what is not plain, in the same words
    "_http11": 3,
    "_lifecycle": 3,
    "_responses": 3,
    "_turns": 3.2,  # what every role keeps of its connection, above the reader
    "_server_turns": 3.25,  # and what one that is asked keeps besides
    "_routes": 3.3,  # a path that leads nowhere is answered with the lifecycle's own words
    "_answers": 3.6,  # one answer <-> one HTTP message: needs the routes and the heads
    "_asks": 3.6,
    "_invoke_answers": 3.6,
    "_invoke_asks": 3.6,
    # roles
    "_extension": 4,
    "_invoke": 4,
    "_invoke_service": 4,
    "_runtime": 4,
    "_service": 4,
    FRONT_DOOR: 4.5,
    # conversations
    "_wants": 5,
    "exchanges": 5.5,  # they are generators of wants
    # drivers
    "_tls": 6,
    "_line": 6.05,  # what both kinds of driver do with a socket
    "_sockets": 6.1,  # blocking, for sync
    "_transport": 6.1,  # waiting, for asyncio and trio
    "_blocking_caller": 6.3,  # half of sync, which holds the runtime's
    "_facade": 6.3,
    "asyncio": 6.5,
    "sync": 6.5,
    "trio": 6.5,
    # programs
    "_stdout": 6.9,  # how commands write
    "bootstrap": 7,
    "conform": 7,
    "decode": 7,
    "invoke": 7,
    "local": 7,
    "cli": 7.5,  # starts the programs
    "__main__": 7.9,
    # beside the stairs: sees every floor, and no floor sees it
    "testing": 9,
}

DRIVERS = FLOORS["_tls"]

#: What touches the world. Below the drivers nobody does.
IMPURE = {
    "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile", "threading", "time",
    "trio", "urllib",
}  # fmt: skip

MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """A package such as ``local`` is one room: inside it, modules may meet."""
    return module.split(".", maxsplit=1)[0]


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, wherever it stands; relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "lambda_wire":
                yield from ((node.lineno, f"lambda_wire.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def faults_of(module: str, source: str) -> list[str]:
    """Return what is wrong with a module, one line per fault."""
    room = room_of(module)
    if room not in FLOORS:
        return [f"{module}: has no floor; give it one in FLOORS, with its reason"]
    tree = ast.parse(source)
    found = [f"{module}:{line}: {fault}" for line, name in imports(tree) if (fault := import_fault(room, name))]
    if FLOORS[room] < DRIVERS:
        found += [
            f"{module}:{node.lineno}: async"
            for node in ast.walk(tree)
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        ]
    if (length := len(source.splitlines())) > 400:
        found.append(f"{module}: {length} lines; 400 is the limit")
    return found


def import_fault(room: str, name: str) -> str:
    """Return what is wrong with a room's importing a dotted name; empty when it may."""
    top, _, rest = name.partition(".")
    if not top:
        return f"relative import of {name}"
    if top == "lambda_wire":
        target = room_of(rest)
        if target not in FLOORS:
            return f"{name} comes in through the front door; name the room"
        if target != room and FLOORS[target] >= FLOORS[room]:
            return f"may not look up or sideways at {target}"
    elif top == "h11" and room != "_h11":
        return "h11 is known in _h11 only"
    elif top in IMPURE and FLOORS[room] < DRIVERS:
        return f"{top} touches the world"
    return ""


@pytest.mark.parametrize("module", MODULES)
def test_every_module_keeps_to_its_floor(module: str) -> None:
    """Imports go down; the core is pure and not async; h11 stays in its room; no module exceeds 400 lines."""
    assert faults_of(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("_strange", "", "_strange: has no floor; give it one in FLOORS, with its reason"),
        ("strange.inner", "", "strange.inner: has no floor; give it one in FLOORS, with its reason"),
        ("_events", "from lambda_wire._runtime import x", "_events:1: may not look up or sideways at _runtime"),
        ("_service", "import lambda_wire._runtime", "_service:1: may not look up or sideways at _runtime"),
        ("_state", "if x:\n from lambda_wire import _prelude", "_state:2: may not look up or sideways at _prelude"),
        ("sync", "from lambda_wire.testing import x", "sync:1: may not look up or sideways at testing"),
        ("local.a", "import lambda_wire.cli", "local.a:1: may not look up or sideways at cli"),
        ("sync", "from lambda_wire import X", "sync:1: lambda_wire.X comes in through the front door; name the room"),
        ("sync", "import lambda_wire", "sync:1: lambda_wire comes in through the front door; name the room"),
        ("_events", "from . import _names", "_events:1: relative import of ."),
        ("_service", "import h11", "_service:1: h11 is known in _h11 only"),
        ("exchanges", "import os.path", "exchanges:1: os touches the world"),
        ("_runtime", "from time import time", "_runtime:1: time touches the world"),
        ("exchanges", "async def f(): pass", "exchanges:1: async"),
        ("cli", "\n" * 401, "cli: 401 lines; 400 is the limit"),
    ],
)
def test_the_check_can_fail(module: str, source: str, fault: str) -> None:
    """Each rule, broken once, is reported with its place."""
    assert faults_of(module, source) == [fault]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("_runtime", "from lambda_wire import _names as names\nfrom lambda_wire._http11 import x"),
        ("_h11", "import h11"),
        ("local.a", "from lambda_wire.local.b import x\nimport asyncio"),
        ("sync", "import socket\nfrom lambda_wire import exchanges"),
        ("testing", "from lambda_wire.local import x"),
        (FRONT_DOOR, "from lambda_wire._service import ServiceConnection"),
    ],
)
def test_the_check_can_pass(module: str, source: str) -> None:
    """What the rules allow is not reported."""
    assert faults_of(module, source) == []


def front_door() -> tuple[list[str], set[str]]:
    """Return ``__all__`` as written, and every name that the door brings in."""
    listed: list[str] = []
    brought: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[FRONT_DOOR].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lambda_wire."):
            brought.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    return listed, brought


def written_by(module: str) -> set[str]:
    """Return ``__all__`` of a module, from its source."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def in_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by the alphabet (isort's order; ruff's RUF022 keeps it)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_the_front_door_lists_what_it_brings_in_and_no_stranger() -> None:
    """``__all__`` is exactly what the door imports, and holds no private name."""
    listed, brought = front_door()
    assert set(listed) == brought
    assert not [name for name in listed if name.startswith("_")]


def test_the_front_door_is_sorted() -> None:
    """``__all__`` is sorted, and no name stands there twice."""
    listed, _ = front_door()
    assert all(in_order(one) < in_order(other) for one, other in pairwise(listed))


def test_the_whole_vocabulary_and_every_fault_is_at_the_front_door() -> None:
    """Nobody needs a private module to name an event or to catch a fault."""
    listed, _ = front_door()
    assert (written_by("_events") | written_by("_errors") | {"Malformed"}) - set(listed) == set()


def test_every_name_is_brought_from_the_room_that_has_it() -> None:
    """What type checkers read, what ``from lambda_wire import *`` gives, and what is lazily found are the same."""
    named = {
        alias.name: node.module
        for node in ast.walk(ast.parse(MODULES[FRONT_DOOR].read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lambda_wire.")
        for alias in node.names
    }
    assert set(dir(lambda_wire)) >= set(lambda_wire.__all__)
    for name, module in named.items():
        assert getattr(lambda_wire, name) is getattr(importlib.import_module(module), name), name
    with pytest.raises(AttributeError, match="module 'lambda_wire' has no attribute 'nothing'"):
        lambda_wire.nothing  # type: ignore[attr-defined]  # noqa: B018  # that is the point


def test_opening_the_front_door_is_cheap() -> None:
    """``import lambda_wire`` loads no room, and of the standard library only ``__future__`` where Python has not."""
    code = "import sys, __future__; before = set(sys.modules); import lambda_wire; print(*set(sys.modules) - before)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=PACKAGE.parent
    )
    assert run.stdout.split() == ["lambda_wire"]


def test_the_version_is_the_packages() -> None:
    """What servers log of us, and what is installed."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert USER_AGENT.startswith(f"lambda-wire/{project['version']} ")

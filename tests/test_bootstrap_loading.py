"""A handler's name leads to the handler, or to the error that AWS's client reports."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambda_wire.bootstrap.failures import RuntimeFault
from lambda_wire.bootstrap.loading import load_handler
from tests.real_parts import need_module

SOURCES = {
    "lw_app.py": "def handler(event, context): return 'app'\nnothing = 7\n",
    "lw_pkg/__init__.py": "",
    "lw_pkg/inner/__init__.py": "",
    "lw_pkg/inner/mod.py": "def handler(event, context): return 'inner'\n",
    "lw_imports.py": "import lw_does_not_exist\n",
    "lw_syntax.py": "def handler(:\n",
    "lw_raises.py": "raise LookupError('bücher 書')\n",
}


@pytest.fixture(autouse=True)
def task_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("lw_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "answer"),
    [("lw_app.handler", "app"), ("lw_pkg/inner/mod.handler", "inner"), ("lw_pkg.inner.mod.handler", "inner")],
)
def test_finds_a_handler_by_slashes_and_dots(name: str, answer: str) -> None:
    assert load_handler(name)(None, None) == answer


def test_the_task_root_is_searched_first_and_entered_once(task_root: Path) -> None:
    """``LAMBDA_TASK_ROOT`` is the first place that is searched."""
    load_handler("lw_app.handler")
    load_handler("lw_app.handler")
    assert sys.path[0] == str(task_root)
    assert sys.path.count(str(task_root)) == 1


def test_without_a_task_root_the_working_directory_is_searched(
    task_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMBDA_TASK_ROOT")
    monkeypatch.chdir(task_root)
    assert load_handler("lw_app.handler")(None, None) == "app"


FAULTS = [
    ("handler", "Runtime.MalformedHandlerName", "expected MODULE.FUNCTION"),
    ("", "Runtime.MalformedHandlerName", "expected MODULE.FUNCTION"),
    (".handler", "Runtime.MalformedHandlerName", "expected MODULE.FUNCTION"),
    ("lw_app.", "Runtime.MalformedHandlerName", "expected MODULE.FUNCTION"),
    ("/lw_app.handler", "Runtime.MalformedHandlerName", "expected MODULE.FUNCTION"),
    ("lw_missing.handler", "Runtime.ImportModuleError", "Unable to import module 'lw_missing': No module named"),
    ("lw_pkg/no/mod.handler", "Runtime.ImportModuleError", "Unable to import module 'lw_pkg/no/mod'"),
    ("lw_imports.handler", "Runtime.ImportModuleError", "No module named 'lw_does_not_exist'"),
    ("lw_syntax.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'lw_syntax': "),
    ("lw_app.other", "Runtime.HandlerNotFound", "Handler 'other' missing on module 'lw_app'"),
    ("lw_app.nothing", "Runtime.HandlerNotFound", "Handler 'nothing' of module 'lw_app' is no function: it is int"),
    ("sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
]


@pytest.mark.parametrize(("name", "error_type", "message"), FAULTS)
def test_what_is_wrong_has_the_name_that_awss_client_gives_it(name: str, error_type: str, message: str) -> None:
    """Each fault has one of its own, ``Runtime.`` and a reason (ER-TYPE-2, ER-TYPE-7)."""
    with pytest.raises(RuntimeFault) as caught:
        load_handler(name)
    assert caught.value.error_type == error_type
    assert message in str(caught.value)


#: Where AWS's client lets Python's own exception out, or looks only when the first event comes.
DIFFERENT = {".handler", "", "lw_app.", "/lw_app.handler", "lw_app.nothing"}


@pytest.mark.parametrize(("name", "error_type", "message"), [row for row in FAULTS if row[0] not in DIFFERENT])
def test_awss_own_client_reports_the_same_type(name: str, error_type: str, message: str, task_root: Path) -> None:
    need_module("awslambdaric")
    awss = importlib.import_module("awslambdaric.bootstrap")
    sys.path.insert(0, str(task_root))
    with pytest.raises(awss.FaultException) as caught:
        awss._get_handler(name)
    assert caught.value.exception_type == error_type


def test_a_syntax_error_shows_its_line() -> None:
    with pytest.raises(RuntimeFault) as caught:
        load_handler("lw_syntax.handler")
    (shown,) = caught.value.stack_trace
    assert 'lw_syntax.py" Line 1\n    def handler(:' in shown


def test_a_failed_import_shows_where_it_stands() -> None:
    """The stack begins in the handler's module, not in the machinery that imports it."""
    with pytest.raises(RuntimeFault) as caught:
        load_handler("lw_imports.handler")
    assert "lw_imports.py" in caught.value.stack_trace[0]
    assert "import lw_does_not_exist" in caught.value.stack_trace[0]


@pytest.mark.parametrize("name", ["lw_missing.handler", "lw_missing.inner.handler", "lw_pkg.missing.handler"])
def test_a_module_that_is_not_there_has_no_stack(name: str) -> None:
    with pytest.raises(RuntimeFault) as caught:
        load_handler(name)
    assert caught.value.stack_trace == ()


def test_what_else_a_module_raises_is_let_through() -> None:
    with pytest.raises(LookupError, match="bücher 書"):
        load_handler("lw_raises.handler")

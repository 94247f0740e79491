"""SnapStart: what a function does before its environment is snapshotted, and after that was restored.

The environment of a version that is published loads its handler, runs the before hooks and asks
``/runtime/restore/next``. Then it is frozen. Each copy of it goes on where that is answered: it runs the after hooks,
and polls for its first invocation (AWS docs, "Lambda SnapStart runtime hooks", read 2026).

``snapshot_restore_py`` is the package whose decorators AWS documents for Python. Where it can be imported, our
decorators register there, and there is one list and one order, whichever of them a library uses. Where it cannot, the
list is ours. Before hooks run in reverse order of registration, after hooks in that order (snapshot-restore-py 1.0.0 as
awslambdaric 4.2.2 runs it).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import AsyncGeneratorType, CoroutineType, GeneratorType, ModuleType
from typing import Final, TypeAlias, TypeVar

from lambda_wire import _names as names
from lambda_wire._error_payload import encode_error
from lambda_wire._errors import RemoteProtocolError, RequestRefused
from lambda_wire.bootstrap.failures import describe, flush_logs, log_failure, say, say_init_error
from lambda_wire.bootstrap.stopping import Stopped
from lambda_wire.sync import Runtime

__all__ = ["AFTER_RESTORE_EXIT", "BEFORE_SNAPSHOT_EXIT", "after_restore", "before_snapshot", "take_snapshot"]

_H = TypeVar("_H", bound=Callable[[], object])
_Registered: TypeAlias = tuple[Callable[..., object], tuple[object, ...], dict[str, object]]

#: The exit codes of a runtime whose hooks failed, as of AWS's client (ER-EXIT-8).
BEFORE_SNAPSHOT_EXIT: Final = 64
AFTER_RESTORE_EXIT: Final = 65

_PACKAGE: Final = "snapshot_restore_py"
#: ``CO_GENERATOR | CO_COROUTINE | CO_ITERABLE_COROUTINE | CO_ASYNC_GENERATOR`` of ``inspect``, which is dear to import.
_RUNS_LATER: Final = 0x20 | 0x80 | 0x100 | 0x200

_before: Final[list[_Registered]] = []
_after: Final[list[_Registered]] = []


def before_snapshot(hook: _H) -> _H:
    """Register what is to run before the snapshot is taken, such as closing connections; usable as a decorator.

    Args:
        hook: Called without arguments. A plain function: the event loop that async handlers run on is not there yet.

    Raises:
        TypeError: ``hook`` is async or a generator function.
    """
    _require_plain(hook)
    package = _package()
    if package is None:
        _before.append((hook, (), {}))
    else:
        package.register_before_snapshot(hook)
    return hook


def after_restore(hook: _H) -> _H:
    """Register what is to run in each restored environment, such as seeding and connecting; usable as a decorator.

    AWS gives all of them together, and what the runtime itself needs then, 10 seconds (AWS docs, read 2026).

    Args:
        hook: Called without arguments. A plain function: the event loop that async handlers run on is not there yet.

    Raises:
        TypeError: ``hook`` is async or a generator function.
    """
    _require_plain(hook)
    package = _package()
    if package is None:
        _after.append((hook, (), {}))
    else:
        package.register_after_restore(hook)
    return hook


def take_snapshot(runtime: Runtime) -> int | None:
    """Run the before hooks, wait until the environment was snapshotted and restored, run the after hooks.

    For runtimes whose ``AWS_LAMBDA_INITIALIZATION_TYPE`` is ``snap-start``, once, before the first poll.

    What fails is logged and reported as AWS's client reports it: a before hook and a refused snapshot as an init error
    of type ``Runtime.BeforeSnapshotError``, an after hook as a restore error of type ``Runtime.AfterRestoreError``. The
    type in the document is the exception's own.

    Returns:
        ``None`` when the runtime may poll, else the exit code of its process.

    Raises:
        Stopped: A signal asked the process to end. Nothing is reported.
        ConnectionLost: The Runtime API is gone: there is nobody to report it to.
        LocalProtocolError: The runtime has polled already.
        Busy: Another caller uses ``runtime``.
    """
    fault = _fault_of(_before_hooks())
    if fault is None:
        fault = _fault_of_snapshot(runtime)
    if fault is not None:
        say_init_error(fault, runtime, names.RUNTIME_BEFORE_SNAPSHOT_ERROR)
        return BEFORE_SNAPSHOT_EXIT
    fault = _fault_of(_after_hooks())
    if fault is not None:
        _report_after(runtime, fault)
        return AFTER_RESTORE_EXIT
    return None


def _fault_of_snapshot(runtime: Runtime) -> BaseException | None:
    flush_logs()  # each copy would write it
    try:
        runtime.next_restore()
    except (RequestRefused, RemoteProtocolError) as fault:
        return fault
    return None


# -- hooks


def _package() -> ModuleType | None:
    try:
        return import_module(_PACKAGE)
    except ImportError:
        return None


def _require_plain(hook: Callable[[], object]) -> None:
    code = getattr(hook, "__code__", None)
    if code is not None and code.co_flags & _RUNS_LATER:
        raise _runs_later(hook)


def _runs_later(hook: Callable[..., object]) -> TypeError:
    name = getattr(hook, "__qualname__", type(hook).__name__)
    return TypeError(
        f"expected a plain function as a hook, got {name}, which is async or a generator: it would not run"
    )


def _before_hooks() -> Iterator[_Registered]:
    """Take the hooks from their lists, the last one first: a hook may register another."""
    package = sys.modules.get(_PACKAGE)
    theirs: list[_Registered] = [] if package is None else package.get_before_snapshot()
    for registry in (theirs, _before):
        while registry:
            yield registry.pop()


def _after_hooks() -> Iterator[_Registered]:
    package = sys.modules.get(_PACKAGE)
    theirs: list[_Registered] = [] if package is None else package.get_after_restore()
    for registry in (_after, theirs):
        yield from registry


def _fault_of(hooks: Iterator[_Registered]) -> BaseException | None:
    """Run hooks up to the first that fails; return its fault."""
    try:
        for hook, arguments, options in hooks:
            outcome = hook(*arguments, **options)
            if isinstance(outcome, CoroutineType):
                outcome.close()
            if isinstance(outcome, (CoroutineType, GeneratorType, AsyncGeneratorType)):
                raise _runs_later(hook)
    except Stopped:
        raise
    except BaseException as fault:  # noqa: BLE001  # a hook may raise anything
        return fault
    return None


# -- reports


def _report_after(runtime: Runtime, fault: BaseException) -> None:
    error = describe(fault)
    log_failure(error)
    say(
        "restore error",
        lambda: runtime.report_restore_error(error_type=names.RUNTIME_AFTER_RESTORE_ERROR, payload=encode_error(error)),
    )

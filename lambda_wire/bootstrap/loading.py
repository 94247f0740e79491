"""From a handler's name to the handler, as AWS's client finds it: ``app.handler``, ``pkg/mod.func``, ``pkg.mod.f``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from lambda_wire import _names as names
from lambda_wire._malformed import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from lambda_wire.bootstrap.failures import RuntimeFault

__all__ = ["Handler", "load_handler"]

Handler: TypeAlias = "Callable[[Any, Any], object]"  # Any: what a handler takes is its author's business


def load_handler(name: str) -> Handler:
    """Import the module that ``name`` names and return its function.

    The task root (``LAMBDA_TASK_ROOT``, else the working directory) becomes the first place that is searched.

    Raises:
        RuntimeFault: There is no such handler; its ``error_type`` is the one of AWS's client.
        BaseException: Whatever else the module raises while it is imported.
    """
    module_name, dot, function_name = name.rpartition(".")
    dotted = module_name.replace("/", ".")
    if not (dot and function_name and all(dotted.split("."))):
        raise _fault(
            names.RUNTIME_MALFORMED_HANDLER_NAME,
            f"Bad handler {quote(name)}: expected MODULE.FUNCTION, such as app.handler or package/module.handler",
        )
    module = _import(module_name, dotted)
    try:
        handler: object = getattr(module, function_name)
    except AttributeError:
        raise _fault(
            names.RUNTIME_HANDLER_NOT_FOUND, f"Handler '{function_name}' missing on module '{module_name}'"
        ) from None
    if not callable(handler):
        raise _fault(
            names.RUNTIME_HANDLER_NOT_FOUND,
            f"Handler '{function_name}' of module '{module_name}' is no function: it is {type(handler).__name__}",
        )
    return handler


def _import(module_name: str, dotted: str) -> object:
    if dotted.split(".", maxsplit=1)[0] in sys.builtin_module_names:
        raise _fault(
            names.RUNTIME_BUILT_IN_MODULE_CONFLICT,
            f"Cannot use built-in module {module_name} as a handler module: rename it",
        )
    root = os.environ.get(names.ENV_TASK_ROOT) or os.getcwd()
    if sys.path[:1] != [root]:
        sys.path.insert(0, root)
    try:
        return importlib.import_module(dotted)
    except ImportError as fault:
        from lambda_wire.bootstrap.failures import describe

        itself = f"{dotted}.".startswith(f"{fault.name}.")  # no code of the handler has run: no stack would help
        raise _fault(
            names.RUNTIME_IMPORT_MODULE_ERROR,
            f"Unable to import module '{module_name}': {fault}",
            () if itself else describe(fault).stack_trace,
        ) from fault
    except SyntaxError as fault:
        raise _fault(
            names.RUNTIME_USER_CODE_SYNTAX_ERROR,
            f"Syntax error in module '{module_name}': {fault}",
            (f'  File "{fault.filename}" Line {fault.lineno}\n    {fault.text or ""}',),
        ) from fault


def _fault(error_type: str, message: str, stack_trace: tuple[str, ...] = ()) -> RuntimeFault:
    """Return what is wrong. Its room is loaded when something is: every cold start passes here."""
    from lambda_wire.bootstrap.failures import RuntimeFault

    return RuntimeFault(error_type, message, stack_trace)

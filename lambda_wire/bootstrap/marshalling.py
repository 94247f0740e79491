"""The event in, the result out: JSON as AWS's client reads and writes it.

It writes with simplejson; this is the standard library's encoder made to say the same: separators ``", "`` and
``": "``, escaped to ASCII unless the execution environment is Python 3.12 or newer, ``Decimal`` as a number with all
its digits, bytes inside a value as text. It differs in four things. NaN and infinities, which AWS's client writes
although they are no JSON, are refused. A named tuple is an array here, and an object there. Bytes as a key, and an
object that has ``_asdict`` and is no tuple, are refused here; there they are text and an object.

JSON is most of the price of a large event. A handler that says so takes the event as bytes, unparsed; and who prefers
another library names it in ``LAMBDA_WIRE_JSON``, and has its opinions then.

Source: awslambdaric 4.2.2, lambda_runtime_marshaller.py.
"""

from __future__ import annotations

import json
import os
from functools import partial
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any, Final

from lambda_wire import _names as names
from lambda_wire._events import Invocation
from lambda_wire._http_event import media_type
from lambda_wire._malformed import quote
from lambda_wire.bootstrap.failures import RuntimeFault, message_of

__all__ = ["read_event", "takes_bytes", "write_json"]

_MANAGED_PYTHON: Final = "AWS_Lambda_python3."
_NO_JSON: Final = "NaN and Infinity are no JSON: return None or a string in their place"
_DECIMAL_MARK_BYTES: Final = 16
#: How deep a handler may lie in others, such as decorators. Ours: each may say that it wraps itself.
_MOST_LAYERS: Final = 100


def takes_bytes(handler: object) -> bool:
    """Say whether a handler takes the event as it came: its first parameter is annotated with ``bytes``."""
    try:
        function, bound = _function_of(handler)
        parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
        return function.__annotations__.get(parameters[bound]) in (bytes, "bytes")
    except Exception:  # noqa: BLE001  # a callable may have none of this, and say anything of itself
        return False


def _function_of(handler: Any) -> tuple[Any, int]:  # noqa: ANN401  # whatever can be called
    """Return the function in a method, a partial, a decorated function or an object, and how many arguments it has."""
    bound = 0
    for _ in range(_MOST_LAYERS):
        if isinstance(handler, MethodType):
            handler, bound = handler.__func__, bound + 1
        elif isinstance(handler, partial):
            handler, bound = handler.func, bound + len(handler.args)
        elif hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        elif not isinstance(handler, FunctionType):
            handler = handler.__call__
        else:
            break
    return handler, bound


def read_event(invocation: Invocation) -> object:
    """Return the event: parsed when it is JSON, as bytes when its content type says that it is something else.

    Raises:
        RuntimeFault: ``Runtime.UnmarshalError``: it should be JSON and is not.
    """
    if media_type(invocation.content_type) not in ("", names.JSON):
        return invocation.payload
    library = _library()
    try:
        event: object = library.loads(invocation.payload)
    except Exception as fault:  # of another library, it may be any
        raise RuntimeFault(names.RUNTIME_UNMARSHAL_ERROR, f"Unable to unmarshal input: {message_of(fault)}") from fault
    return event


def write_json(value: object) -> bytes:
    """Return ``value`` as JSON.

    Raises:
        RuntimeFault: ``Runtime.MarshalError``: it cannot be said in JSON.
    """
    library = _library()
    try:
        if library is json:
            return _write_json(value, ascii_only=not _is_python_312_or_newer()).encode()
        written = library.dumps(value)
        return written.encode() if isinstance(written, str) else bytes(written)
    except Exception as fault:  # a value may raise anything when it is looked at
        reason = message_of(fault)
        if reason.startswith("Out of range float"):
            reason = _NO_JSON
        raise RuntimeFault(names.RUNTIME_MARSHAL_ERROR, f"Unable to marshal response: {reason}") from fault


def _library() -> Any:  # noqa: ANN401  # any module with ``loads`` and ``dumps``
    """Return what reads and writes JSON.

    Raises:
        RuntimeFault: ``Runtime.ImportModuleError``: another one was named, and cannot be imported.
    """
    name = os.environ.get(names.ENV_JSON_MODULE)
    if not name:
        return json
    try:
        return import_module(name)
    except ImportError as fault:
        said = f"{names.ENV_JSON_MODULE} names {quote(name)}, which cannot be imported: {fault}"
        raise RuntimeFault(names.RUNTIME_IMPORT_MODULE_ERROR, said) from fault


def _is_python_312_or_newer() -> bool:
    """Whether this is one of AWS's Pythons that write text as it is. Elsewhere the variable is missing or different."""
    name = os.environ.get(names.ENV_EXECUTION_ENV, "")
    minor = name.removeprefix(_MANAGED_PYTHON)
    return minor != name and minor.isascii() and minor.isdigit() and int(minor) >= 12


def _write_json(value: object, *, ascii_only: bool) -> str:
    decimals = _Decimals()
    text = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, default=decimals.default)
    if ascii_only:
        text = text.replace("\x7f", "\\u007f")
    return decimals.put_into(text)


class _Decimals:
    """Writes ``Decimal`` digit by digit, which the standard encoder has no word for.

    It is given a text in place of each: a mark of random bytes, which no value can hold by chance or by intent.
    """

    def __init__(self) -> None:
        self._mark = ""
        self._written: list[str] = []

    def default(self, value: object) -> object:
        """Return what the encoder shall write for a value that it does not know."""
        if isinstance(value, bytes):
            return value.decode()
        from decimal import Decimal

        if not isinstance(value, Decimal):
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
        if not value.is_finite():
            raise ValueError(_NO_JSON)
        if not self._mark:
            self._mark = os.urandom(_DECIMAL_MARK_BYTES).hex()
        self._written.append(str(value))
        return self._mark

    def put_into(self, text: str) -> str:
        """Return ``text`` with the numbers where the marks were, in order."""
        if not self._mark:
            return text
        parts = text.split(f'"{self._mark}"')
        assert len(parts) == len(self._written) + 1
        return parts[0] + "".join(number + part for number, part in zip(self._written, parts[1:], strict=True))

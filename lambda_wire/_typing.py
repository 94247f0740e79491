"""Stand-ins for what of ``typing`` is there at run time.

``typing`` means something to type checkers alone, and takes a third of the cold start of a Lambda function to import
(it brings ``re`` with it). So what a runtime needs before its first poll imports it for checkers only, and these::

    TYPE_CHECKING = False
    if TYPE_CHECKING:
        from typing import Final, TypeVar
    else:
        from lambda_wire._typing import TypeVar
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Generic", "Protocol", "TypeVar", "assert_never"]


class Generic:
    """Takes any parameters and means nothing by them."""

    __slots__ = ()

    def __class_getitem__(cls, _parameters: object) -> type[Generic]:
        return cls


class Protocol:
    """The shape of something."""

    __slots__ = ()


def TypeVar(name: str, *_types: object, **_bounds: object) -> str:  # noqa: N802  # the name of what it stands for
    """Return what a type can be parametrised with."""
    return name


def assert_never(value: object) -> NoReturn:
    """Say that a value was forgotten.

    Raises:
        AssertionError: Always.
    """
    raise AssertionError(f"expected to have thought of everything, got {value!r}")

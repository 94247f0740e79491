"""Frozen records for the vocabulary, without the price of ``dataclasses``.

A standard frozen slotted dataclass is compiled by ``exec`` when its module is imported: half a millisecond each,
paid by every cold start of a Lambda function. ``@record`` gives the same law for a fraction: frozen, slotted,
keyword-only, final, equal by value, hashable, picklable, fields marked ``field(repr=False)`` kept out of ``repr``,
and ``__post_init__`` called once, when every field has its value. A record's ``__init__`` is compiled, too, which
makes values at a third of the price of a general one; but when the first value is made, and of most records of the
vocabulary a runtime makes none.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform
else:
    from lambda_wire._typing import TypeVar

__all__ = ["field", "record", "replaced"]

_T = TypeVar("_T")
_REQUIRED: Any = object()  # Any: stands in for a default of every type


class _Field:
    """A declared default together with what else was said of the field."""

    __slots__ = ("default", "shown")

    def __init__(self, default: object, shown: bool) -> None:
        self.default = default
        self.shown = shown


def field(*, default: Any = _REQUIRED, repr: bool = True) -> Any:  # noqa: A002, ANN401  # typing's field specifier
    """Declare a field whose plain default does not say enough.

    Args:
        default: Its value when the caller gives none.
        repr: Whether the value may appear in ``repr()``. Payloads and secrets may not.
    """
    return _Field(default, repr)


class _Record:
    """What every record does. ``@record`` puts it under the decorated class."""

    __slots__ = ()
    _names: ClassVar[tuple[str, ...]]
    _shown: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, object]]
    _setters: ClassVar[dict[str, Callable[[object, object], None]]]
    """Of the slots: the only way past ``__setattr__``."""

    def __init__(self, **given: object) -> None:
        cls = type(self)
        cls.__init__ = cls._compiled_init()  # type: ignore[method-assign]  # of the class that asks, once
        self.__init__(**given)  # type: ignore[misc]  # the compiled one

    @classmethod
    def _compiled_init(cls) -> Callable[..., None]:
        """Return what ``__init__`` would be if somebody wrote it: each field a keyword, its default its default."""
        setters = {f"set_{name}": setter for name, setter in cls._setters.items()}
        defaults = {f"default_{name}": default for name, default in cls._defaults.items()}
        keywords = [f"{name}=default_{name}" if name in cls._defaults else name for name in cls._names]
        body = [f"set_{name}(self, {name})" for name in cls._names]
        if cls.__post_init__ is not _Record.__post_init__:
            body.append("self.__post_init__()")
        parameters = ", ".join(["self", "*", *keywords] if keywords else ["self"])
        scope: dict[str, Any] = {"__name__": __name__} | setters | defaults  # Any: what exec puts there has no type
        written = f"def __init__({parameters}): {'; '.join(body) or 'pass'}"
        exec(compile(written, __file__, "exec"), scope)  # noqa: S102  # of names that are written in this package
        made: Callable[..., None] = scope["__init__"]
        made.__qualname__ = f"{cls.__name__}.__init__"
        return made

    def __post_init__(self) -> None:
        """Validate. A record without rules has nothing to do here."""

    def __init_subclass__(cls) -> None:
        if cls.__base__ is not _Record:
            raise TypeError(f"{cls.__base__} is a record and final: it cannot be subclassed")

    def __eq__(self, other: object) -> bool:
        return self.__getstate__() == other.__getstate__() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__getstate__()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._shown)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set to {type(value).__name__}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __getstate__(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        for setter, value in zip(self._setters.values(), state, strict=True):
            setter(self, value)


if TYPE_CHECKING:

    @dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
    def record(cls: type[_T]) -> type[_T]:
        """Return ``cls`` as a frozen, slotted, keyword-only, final value class."""
        ...
else:

    def record(cls):
        """Return ``cls`` as a frozen, slotted, keyword-only, final value class."""
        declared = dict(cls.__dict__)
        del declared["__dict__"], declared["__weakref__"]
        names = tuple(cls.__annotations__)
        shown, defaults = [], {}
        for name in names:
            default, is_shown = declared.pop(name, _REQUIRED), True
            if type(default) is _Field:
                default, is_shown = default.default, default.shown
            if is_shown:
                shown.append(name)
            if default is not _REQUIRED:
                defaults[name] = default
        declared.update(__slots__=names, __match_args__=(), _names=names, _shown=tuple(shown), _defaults=defaults)
        made = type(cls.__name__, (_Record,), declared)
        made._setters = {name: getattr(made, name).__set__ for name in names}
        return made


def replaced(value: _T, **changes: Any) -> _T:  # noqa: ANN401  # a field may be of any type
    """Return a record that differs in some fields from another.

    Raises:
        TypeError: There is no such field.
        Malformed: The record does not allow it.
    """
    assert isinstance(value, _Record)
    names = value._names  # pyright: ignore[reportPrivateUsage]  # of this room
    kept = {name: getattr(value, name) for name in names}
    return type(value)(**(kept | changes))

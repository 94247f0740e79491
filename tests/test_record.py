"""The law of records: frozen, slotted, keyword-only, final, equal by value, hashable, picklable, complete at birth."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire._record import field, record, replaced


@record
class Point:
    """A place."""

    x: int
    y: int = 2
    secret: str = field(default="hidden", repr=False)
    note: bytes = field(repr=False, default=b"")
    label: str = field(default="shown")


@record
class Required:
    """Fields that are declared and have no default."""

    first: str = ""
    last: bytes = field(repr=False)


@record
class Twin:
    """Has the values of a Point."""

    x: int
    y: int = 2
    secret: str = "hidden"
    note: bytes = b""
    label: str = "shown"


@record
class Empty:
    """Says all by being there."""


@record
class Checked:
    """Refuses what is not positive, and knows its double."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("size")

    @property
    def doubled(self) -> int:
        """Methods and properties are kept."""
        return 2 * self.size


@record
class Painted:
    """Looks its value up."""

    colour: str

    def __post_init__(self) -> None:
        raise KeyError("no such colour")


ANY_POINT: Any = Point  # calls that a type checker would rightly refuse
ANY_REQUIRED: Any = Required


def test_is_complete_at_birth() -> None:
    """Every field has its value, given or default."""
    assert (Point(x=1).x, Point(x=1).y, Point(x=1).secret, Point(x=1).label) == (1, 2, "hidden", "shown")
    assert (Point(x=1, y=3).y, Point(x=1, secret="s").secret) == (3, "s")
    assert Required(last=b"x").last == b"x"


def test_each_kind_is_made_as_it_was_declared() -> None:
    """A kind of which there was no value before: its first value is as whole as its second, and each is checked."""
    checked: list[object] = []

    @record
    class Fresh:
        x: int
        y: int = 2
        secret: str = field(default="hidden", repr=False)
        label: str = field(default="shown")

        def __post_init__(self) -> None:
            checked.append(self)

    any_fresh: Any = Fresh
    for _ in range(2):
        made = [Fresh(x=1), Fresh(label="a", secret="b", y=3, x=4)]
        assert [repr(each) for each in made] == ["Fresh(x=1, y=2, label='shown')", "Fresh(x=4, y=3, label='a')"]
        assert [each.secret for each in made] == ["hidden", "b"]
        assert checked == made
        checked.clear()
        for wrong in ({}, {"x": 1, "z": 2}):
            with pytest.raises(TypeError, match=r"^Fresh\.__init__\(\) .* '(x|z)'$"):
                any_fresh(**wrong)
        with pytest.raises(TypeError):
            any_fresh(1)
    assert Fresh.__init__.__module__ == record.__module__


def test_a_kind_without_fields_is_made_as_it_was_declared() -> None:
    """With a check of its own, and with none."""
    checked: list[object] = []

    @record
    class Bare:
        def __post_init__(self) -> None:
            checked.append(self)

    @record
    class Plain:
        """It has nothing at all."""

    made = [Bare(), Bare()]
    assert [id(each) for each in checked] == [id(each) for each in made]
    assert Plain() == Plain()


def test_is_keyword_only() -> None:
    """No value is given by its place."""
    with pytest.raises(TypeError):
        ANY_POINT(1)


@pytest.mark.parametrize("given", [{}, {"y": 1}, {"x": 1, "z": 2}, {"x": 1, "y": 1, "secret": "", "note": b"", "z": 0}])
def test_takes_exactly_its_fields(given: dict[str, object]) -> None:
    """A missing or an unknown name is named."""
    with pytest.raises(TypeError, match=r"^Point\.__init__\(\) .* '(x|z)'$"):
        ANY_POINT(**given)


@given(names=st.lists(st.sampled_from(["x", "y", "secret", "note", "label", "z", "w"]), unique=True))
def test_is_made_or_refused_by_its_names_alone(names: list[str]) -> None:
    """In any order; what is not given has its default, and what has none is named when it is missing."""
    given_values = {name: f"given {name}" for name in names}
    unknown = set(names) & {"z", "w"}
    if "x" in names and not unknown:
        point = ANY_POINT(**given_values)
        defaults = {"y": 2, "secret": "hidden", "note": b"", "label": "shown"}
        assert {name: getattr(point, name) for name in ("x", *defaults)} == defaults | given_values
        return
    with pytest.raises(TypeError, match=r"^Point\.__init__\(\) ") as caught:
        ANY_POINT(**given_values)
    named = [name for name in unknown | ({"x"} - set(names)) if str(caught.value).endswith(f" '{name}'")]
    assert len(named) == 1


def test_what_its_own_check_raises_is_not_taken_for_a_wrong_field() -> None:
    """``__post_init__`` may raise anything."""
    with pytest.raises(KeyError, match="no such colour"):
        Painted(colour="x")


def test_a_declared_field_may_be_required() -> None:
    """``field`` without a default is no default."""
    with pytest.raises(TypeError, match="last"):
        ANY_REQUIRED()


def test_is_checked_once_at_birth() -> None:
    """``__post_init__`` sees the finished value."""
    assert Checked(size=2).doubled == 4
    with pytest.raises(ValueError, match="size"):
        Checked(size=0)


def test_is_frozen() -> None:
    """Neither fields nor strangers can be set or deleted."""
    point = Point(x=1)
    for name in ("x", "secret", "stranger"):
        with pytest.raises(AttributeError, match=f"Point is frozen: {name} cannot be set"):
            setattr(point, name, 2)
        with pytest.raises(AttributeError, match=f"Point is frozen: {name} cannot be deleted"):
            delattr(point, name)
    assert point == Point(x=1)


def test_is_slotted() -> None:
    """No dictionary, no weak references: only its fields."""
    assert not hasattr(Point(x=1), "__dict__")
    with pytest.raises(TypeError):
        weakref.ref(Point(x=1))


@pytest.mark.parametrize("kind", [Point, Empty])
def test_is_final(kind: type) -> None:
    """A subclass would break equality."""
    with pytest.raises(TypeError, match="final"):
        type("Child", (kind,), {})


def test_is_equal_by_value() -> None:
    """To its own kind only; unequal in any field, hidden ones too."""
    assert Point(x=1) == Point(x=1, y=2)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Point(x=1, secret="other")
    strangers: list[object] = [Twin(x=1), (1, 2, "hidden", b"", "shown"), None]
    assert all(Point(x=1) != stranger for stranger in strangers)
    assert Empty() == Empty()


def test_hashes_as_it_compares() -> None:
    """Equal values are one key; another kind's are not."""
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2
    assert hash(Point(x=1)) != hash(Twin(x=1))


def test_says_what_it_is_and_no_secrets() -> None:
    """``field(repr=False)`` stays out, ``field()`` does not."""
    assert repr(Point(x=1, secret="s")) == "Point(x=1, y=2, label='shown')"
    assert repr(Required(last=b"s")) == "Required(first='')"
    assert repr(Empty()) == "Empty()"


@pytest.mark.parametrize("value", [Point(x=1, y=5, note=b"n"), Required(last=b"l"), Empty(), Checked(size=3)])
def test_travels_between_processes(value: object) -> None:
    """Pickled, copied and deeply copied, it is equal."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("state", [(), (1, 2, "", b""), (1, 2, "", b"", "", 0)])
def test_another_state_than_its_own_is_refused(state: tuple[object, ...]) -> None:
    """As of a version that has other fields: no value is left out, and none is lost."""
    travelled: Any = Point(x=1)
    with pytest.raises(ValueError, match="zip"):
        travelled.__setstate__(state)


def test_matches_by_name_only() -> None:
    """``case Point(x=1)`` works, ``case Point(1)`` does not."""
    match Point(x=1):
        case Point(x=x, y=2):
            assert x == 1
    assert ANY_POINT.__match_args__ == ()


def test_keeps_its_name_and_its_documentation() -> None:
    """For tracebacks, help and pickle."""
    assert Point.__doc__ == "A place."
    assert (Point.__name__, Point.__qualname__, Point.__module__) == ("Point", "Point", __name__)


def test_a_record_may_be_made_from_another() -> None:
    """With some fields changed, through the same door; the other stays what it was."""
    point = Point(x=1, secret="s")
    assert replaced(point, y=7) == Point(x=1, y=7, secret="s")
    assert point.y == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        replaced(point, z=1)

"""What a judge says: the call, the case, the first wrong element, and what the numbers give away.

A judge is a test marked `@pytest.mark.exercise("sum-to")`. It compares with definitions of its own, written out as
loops, and never with the engine's. What it finds wrong it says so that somebody who is writing the function for the
first time can go on from there.

    judge("sum_to(g, (3,))", sum_to(g, (3,)), np.array([5.0, 7.0, 9.0]), given={"g": g})
"""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidl.mistakes import likely_mistake

SHOWN = 25  # elements of an array: more are not printed


class Wrong(AssertionError):
    """What a function gave is not what it should have given.

    got   the wrong result, by which a mistake is recognised that others have made before
    """

    def __init__(self, message: str, got: Any = None) -> None:
        super().__init__(message)
        self.got = got


def judge(
    call: str,
    got: Any,
    wanted: Any,
    *,
    given: Mapping[str, Any] | None = None,
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float = 1e-9,
) -> None:
    """Compare what a call gave with what it should have given.

    call       the call, as a learner would write it
    got        an array, a Tensor, a number, a tuple of them, or anything that == compares
    wanted     the same; where it is an array, shape, dtype and every element must agree
    given      what it was called with; small arrays are printed
    mistakes   {what it is to have made this mistake: what comes out then}; of a tuple, None where nothing is known
    tolerance  |got − wanted| ≤ tolerance · (1 + |wanted|)

    Raises: Wrong.
    """
    case = _case(call, given or {})
    if isinstance(wanted, tuple | list):
        _same_length(case, got, wanted)
        for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
            part = {text: of_all[i] for text, of_all in (mistakes or {}).items() if of_all[i] is not None}
            _compare(f"{case}\n\nresult {i + 1} of {len(wanted)}:", one, other, part, tolerance)
    else:
        _compare(case, got, wanted, mistakes or {}, tolerance)


def require(condition: Any, message: str, *, given: Mapping[str, Any] | None = None, call: str = "") -> None:
    """Raises: Wrong with this message, unless the condition holds."""
    if not condition:
        raise Wrong(f"{_case(call, given or {})}\n\n{message}" if call else message, message)


@contextlib.contextmanager
def untouched(call: str, **arrays: Any) -> Iterator[None]:
    """A context in which these arrays must not change.

    Raises: Wrong when something wrote into one of them.
    """
    before = {name: _raw(array).copy() for name, array in arrays.items()}
    yield
    for name, array in arrays.items():
        if not np.array_equal(_raw(array), before[name], equal_nan=array.dtype.kind == "f"):
            message = (
                f"{call}\n\nit wrote into {name}, which belongs to the caller: make a new array "
                f"(`a = a + b` does, `a += b` does not)\nbefore  {_text(before[name])}\nafter   {_text(_raw(array))}"
            )
            raise Wrong(message, _raw(array).copy())


def _compare(case: str, got: Any, wanted: Any, mistakes: Mapping[str, Any], tolerance: float) -> None:
    if not isinstance(wanted, np.ndarray | np.generic | float):
        alike = type(got) is type(wanted)
        whole = isinstance(got, numbers.Integral) and isinstance(wanted, numbers.Integral)
        if not (alike or whole) or got != wanted:
            said = repr(got) if alike else _said(got)
            raise Wrong(f"{case}\n\nwanted  {wanted!r}\ngot     {said}", repr(got))
        return
    raw = _raw(got)
    if not isinstance(raw, np.ndarray | np.generic | float | int):
        raise Wrong(f"{case}\n\nwanted  {_what(wanted)}\ngot     {_said(got)}", repr(got)[:200])
    raw, wanted = np.asarray(raw), np.asarray(wanted)
    both = f"{case}\n\nwanted  {_text(wanted)}\ngot     {_text(raw)}"
    if raw.shape != wanted.shape:
        raise Wrong(f"{both}\nthe shape is wrong: wanted {wanted.shape}, got {raw.shape}{_of_shape(raw, wanted)}", raw)
    if isinstance(_raw(got), np.ndarray) and raw.dtype != wanted.dtype:
        raise Wrong(f"{case}\n\nthe dtype is wrong: wanted {wanted.dtype}, got {raw.dtype}", raw)
    with np.errstate(invalid="ignore"):
        wrong = ~np.isclose(raw, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if wrong.any():
        index = tuple(int(axis[0]) for axis in np.nonzero(wrong)) if raw.ndim else ()
        where = f" at [{', '.join(map(str, index))}]" if index else ""
        lines = [both, f"the first wrong element{where}: wanted {wanted[index]:.6g}, got {raw[index]:.6g}"]
        lines += [line for line in (_recognised(raw, wanted, mistakes),) if line]
        raise Wrong("\n".join(lines), raw)


def _recognised(got: np.ndarray, wanted: np.ndarray, mistakes: Mapping[str, Any]) -> str:
    for text, result in mistakes.items():
        result = np.asarray(result)
        if result.shape == got.shape and np.allclose(got, result, rtol=1e-6, atol=1e-9, equal_nan=True):
            return f"that is what comes out when {text}"
    if got.dtype.kind not in "fiu" or not got.size:
        return ""
    guess = likely_mistake(got.astype(np.float64), wanted.astype(np.float64))
    return f"what that looks like: {guess}" if guess else ""


def _of_shape(got: np.ndarray, wanted: np.ndarray) -> str:
    if got.size == wanted.size and got.ndim == wanted.ndim and sorted(got.shape) == sorted(wanted.shape):
        return "; the axes stand in another order"
    if got.size == wanted.size:
        return "; the elements are as many: a reshape, or `keepdims`?"
    if got.ndim == 0:
        return "; was everything summed up, where some axes should have stayed?"
    try:
        larger = np.broadcast_shapes(got.shape, wanted.shape)
    except ValueError:
        return ""
    if larger == got.shape:
        return "; it is the shape after broadcasting: what was repeated must be added up"
    return "; it has size 1 where there should be more" if larger == wanted.shape else ""


def _same_length(case: str, got: Any, wanted: Any) -> None:
    if not isinstance(got, tuple | list):
        raise Wrong(f"{case}\n\nwanted  {len(wanted)} results, as a tuple\ngot     {_said(got)}", repr(got)[:200])
    if len(got) != len(wanted):
        raise Wrong(f"{case}\n\nwanted  {len(wanted)} results\ngot     {len(got)}", len(got))


def _case(call: str, given: Mapping[str, Any]) -> str:
    lines = [call]
    for name, value in given.items():
        before = f"    {name} = "
        lines.append(before + (_text(_raw(value), before) if isinstance(_raw(value), np.ndarray) else repr(value)))
    return "\n".join(lines)


def _text(array: Any, before: str = "wanted  ") -> str:
    """An array as it is printed behind these words."""
    array = np.asarray(array)
    if array.size > SHOWN:
        return f"an array of shape {array.shape}, {array.dtype}"
    with np.printoptions(precision=6, suppress=True, linewidth=90):
        text = np.array2string(array.squeeze(), separator=", ", prefix=before)  # of one image, say, its plane
    return text if array.ndim < 2 else f"{text}    {array.shape}"


def _what(wanted: Any) -> str:
    return f"an array of shape {np.shape(wanted)}" if np.ndim(wanted) else f"a number, {wanted:.6g}"


def _said(got: Any) -> str:
    if got is None:
        return "None: is a `return` missing?"
    return f"{got!r:.200} ({type(got).__name__})"


def _raw(x: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return x.data if hasattr(x, "requires_grad") else x

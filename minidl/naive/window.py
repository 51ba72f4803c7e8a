"""What every loop of this folder needs to know about its window: options as pairs, and at how many places it stands."""

from __future__ import annotations

from typing import Any

Pair = tuple[int, int]


def pair(option: Any) -> tuple[Any, Any]:
    """An option given once for both directions, or as (vertical, horizontal)."""
    return tuple(option) if isinstance(option, tuple | list) else (option, option)


def places(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """At how many places a window stands along an axis: as often as it fits into the padded image, `stride` apart.

    With ceil_mode one time more where something is left over, unless that window would begin in the padding at the end.
    """
    room = size + 2 * padding - ((kernel - 1) * dilation + 1)  # how far the window can move
    count = room // stride + 1
    begins_inside = count * stride - padding < size
    return count + 1 if ceil_mode and room % stride and begins_inside else count


def covered(count: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How much of an image windows at `count` places cover, along an axis: the way back from `places`."""
    return (count - 1) * stride + (kernel - 1) * dilation + 1 - 2 * padding

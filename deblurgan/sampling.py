"""Some of many, evenly spaced."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Choose up to `count` items from the first to the last, evenly spaced, in their order.

    Examples
    --------
    >>> evenly_spaced("abcde", 3)
    ['a', 'c', 'e']
    >>> evenly_spaced([1, 2], 9)
    [1, 2]
    """
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]

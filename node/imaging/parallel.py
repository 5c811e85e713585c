"""Compute independent parts in several threads: numpy and SimpleITK work outside Python's lock.

Promises: the results are those of one thread, in the order of the items.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> list[Result]:
    """Return the result of `function` for each item, computed by `threads` threads."""
    if threads <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def parts(n: int, count: int) -> list[range]:
    """Divide the indexes 0 to n - 1 into at most `count` ranges of nearly the same length."""
    edges = [n * at // count for at in range(count + 1)]
    return [range(*pair) for pair in itertools.pairwise(edges) if pair[0] < pair[1]]

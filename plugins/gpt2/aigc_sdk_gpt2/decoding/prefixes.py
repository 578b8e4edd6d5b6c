"""What several prompts have in common is read once: which new rows go on from which others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHARED_LEAST = 16  # tokens in common below which a prompt is read by itself
WORTH = 64  # tokens that must be saved in all, for the pass that reads what the forked rows add


class Known(NamedTuple):
    """Tokens that some row holds or will hold, and how many that row has places for."""

    tokens: Sequence[int]
    places: int
    adapter: str | None


class Fork(NamedTuple):
    """A new row that begins as another one: `common` tokens of row `source` are its own as well."""

    row: int
    source: int
    common: int


class Plan(NamedTuple):
    """How new rows are read; all numbers but `source` of `from_rows` are those of new rows."""

    roots: list[int]
    """They are read from their beginning."""
    from_rows: list[Fork]
    """They go on from rows that are there already."""
    from_roots: list[Fork]


def plan(new: Sequence[Known], rows: Sequence[Known], *, rewinds: bool) -> Plan:
    """How `new` rows are read beside `rows`, whose last token is not read yet.

    rewinds: whether a forked row can forget what it does not share; if not, only whole prompts are shared.
    """
    found = _plan(new, rows, rewinds)
    partial = [each for each in (*found.from_rows, *found.from_roots) if each.common < len(new[each.row].tokens)]
    if 0 < sum(each.common for each in partial) < WORTH:
        found = _plan(new, (), rewinds=False)
    return found


def _plan(new: Sequence[Known], rows: Sequence[Known], rewinds: bool) -> Plan:
    found = Plan([], [], [])
    alike: dict[tuple[str | None, tuple[int, ...]], int] = {}  # the roots
    for number, one in enumerate(new):
        key = (one.adapter, tuple(one.tokens))
        if key in alike:
            found.from_roots.append(Fork(number, alike[key], len(one.tokens)))
            continue
        fork = _best(number, one, rows, found.roots, new) if rewinds else None
        if fork is None:
            found.roots.append(number)
            alike[key] = number
        else:
            (found.from_rows if fork[1] else found.from_roots).append(fork[0])
    return found


def _best(
    number: int, one: Known, rows: Sequence[Known], roots: Sequence[int], new: Sequence[Known]
) -> tuple[Fork, bool] | None:
    """The fork that shares most, and whether it is from a row that is there; None where none shares enough."""
    most, best = SHARED_LEAST - 1, None
    for source, row in enumerate(rows):
        if row.adapter == one.adapter and row.places >= one.places:
            common = min(shared(one.tokens, row.tokens, most), len(row.tokens) - 1, len(one.tokens) - 1)
            if common > most:
                most, best = common, (Fork(number, source, common), True)
    for source in roots:
        if new[source].adapter == one.adapter:
            common = min(shared(one.tokens, new[source].tokens, most), len(one.tokens) - 1)
            if common > most:
                most, best = common, (Fork(number, source, common), False)
    return best


def shared(one: Sequence[int], other: Sequence[int], least: int = 0) -> int:
    """How many tokens both begin with; 0 if they are not more than `least`."""
    low, high = least + 1, min(len(one), len(other))
    if high < low or one[:low] != other[:low]:
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

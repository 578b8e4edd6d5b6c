"""Splits of a data set: by hash, at random, stratified, grouped, by time; each a function of names and seed alone.

Nothing depends on the order in which items come. Only `part_of`, and `split` by "hash", stay as they are when items are
added later, and only they need no list of all items.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from aigc_sdk.errors import DataError, OptionError, printable, shown, suggestion

from .items import Item, checked

Way = Literal["hash", "random", "stratified", "time"]


def part_of(item: Item, parts: Mapping[str, float], *, seed: int = 0, group: str | None = None) -> str:
    """The part that an item belongs to, by a hash of its id: the same for ever, whatever else there is.

    parts: the share of each part, which sum to 1. group: a fact; items that have it in common get the same part.
    Parts have their shares on average. Raises OptionError and DataError.
    """
    shares = _parts(parts)
    place, total = _hash(_key(item, group), _seed(seed)), 0.0
    for name, share in shares.items():
        total += share
        if place < total:
            return name
    return next(name for name in reversed(shares) if shares[name])  # rounding


def split(
    items: Iterable[Item],
    parts: Mapping[str, float],
    *,
    by: Way = "hash",
    seed: int = 0,
    group: str | None = None,
    stratify: str | None = None,
    time: str | None = None,
) -> dict[str, list[Item]]:
    """The items, divided; each part keeps their order.

    parts: the share of each part, which sum to 1, such as {"train": 0.8, "validation": 0.1, "test": 0.1}.
    by: one of
      - "hash": each item by its id, as `part_of` says: an item stays in its part when others are added
      - "random": as many as the shares say, to one item
      - "stratified": the same, of each value of the fact `stratify`
      - "time": the earliest come first, in the order of the parts; what happened at the same time is not divided. The
        fact `time` is a number, a date, or text as in ISO 8601.
    group: a fact whose values are not divided, such as an author; with "hash" and "random", which then counts groups.
    Raises DataError for an item without a fact that is asked for, or an id that stands there twice; OptionError.
    """
    if by not in get_args(Way):
        message = f"by={shown(by)}: use one of {', '.join(get_args(Way))}.{suggestion(str(by), get_args(Way))}"
        raise OptionError(message, field="by")
    for field, value, needed in (("stratify", stratify, by == "stratified"), ("time", time, by == "time")):
        if (value is not None) != needed:
            remedy = "name the fact" if needed else "leave it out"
            raise OptionError(f"{field}={shown(value)} with by={by!r}: {remedy}", field=field)
    if group is not None and by not in ("hash", "random"):
        raise OptionError(f"group={shown(group)} with by={by!r}: groups go with 'hash' and 'random'", field="group")
    shares, number = _parts(parts), _seed(seed)
    every = list(checked(items))
    _refuse_twice(every)
    if by == "hash":
        chosen = {item.id: part_of(item, shares, seed=number, group=group) for item in every}
    elif by == "time":
        chosen = _by_time(every, shares, str(time))
    else:
        chosen = _by_counts(every, shares, number, group, stratify)
    found: dict[str, list[Item]] = {name: [] for name in shares}
    for item in every:
        found[chosen[item.id]].append(item)
    return found


def _by_counts(
    items: list[Item], shares: Mapping[str, float], seed: int, group: str | None, stratify: str | None
) -> dict[str, str]:
    """Within each stratum the units, items or groups, in the order of their hashes, cut by the shares."""
    strata: defaultdict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        stratum = "" if stratify is None else str(_fact(item, stratify))
        strata[stratum][_key(item, group)].append(item)
    chosen = {}
    for stratum in sorted(strata):
        units = sorted(strata[stratum], key=lambda key: (_hash(key, seed), key))
        ends = _ends(len(units), shares, _hash(stratum, seed) if stratify is not None else 0.0)
        for index, unit in enumerate(units):
            name = next(name for name, end in ends.items() if index < end)
            chosen.update({item.id: name for item in strata[stratum][unit]})
    return chosen


def _ends(count: int, shares: Mapping[str, float], turn: float) -> dict[str, int]:
    """Where each part ends: whole counts nearest to the shares by the largest remainder; `turn` says who goes first of equals.

    Without turns all single items of rare strata would come to the same part.
    """
    exact = {name: count * share for name, share in shares.items()}
    counts = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    names = list(shares)
    start = int(turn * len(names))
    order = sorted(names, key=lambda name: (counts[name] - exact[name], (names.index(name) - start) % len(names)))
    for name in order[: count - sum(counts.values())]:
        counts[name] += 1
    ends, total = {}, 0
    for name in names:
        total += counts[name]
        ends[name] = total
    return ends


def _by_time(items: list[Item], shares: Mapping[str, float], time: str) -> dict[str, str]:
    moments = {item.id: _moment(item, time) for item in items}
    if len({isinstance(moment, float) for moment in moments.values()}) > 1:
        raise DataError(f"the fact {time!r} is a number in some items and a date in others; use either", field="time")
    order = sorted(items, key=lambda item: (moments[item.id], item.id))
    ends = _ends(len(order), shares, 0.0)
    chosen: dict[str, str] = {}
    for index, item in enumerate(order):
        before = order[index - 1].id if index else None
        if before is not None and moments[before] == moments[item.id]:
            chosen[item.id] = chosen[before]
        else:
            chosen[item.id] = next(name for name, end in ends.items() if index < end)
    return chosen


def _moment(item: Item, time: str) -> Any:
    """A number, or an instant; times without a zone count as UTC."""
    value = _fact(item, time)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        return ("date", (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    except (ValueError, AttributeError, OverflowError) as error:
        message = f"{printable(item.id)}: its {time} is {shown(value)}; give a number, a date, or text as in ISO 8601"
        raise DataError(message, field="time") from error


def _key(item: Item, group: str | None) -> str:
    return item.id if group is None else str(_fact(item, group))


def _fact(item: Item, name: str) -> Any:
    value = item.facts.get(name)
    if value is None:
        known = ", ".join(map(str, item.facts)) or "none"
        close = suggestion(str(name), map(str, item.facts))
        raise DataError(f"{printable(item.id)} has no fact {name!r}.{close} Its facts: {known}.", field="items")
    return value


def _hash(key: str, seed: int) -> float:
    """A number in [0, 1) that a name and a seed decide."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, salt=_salt(seed)).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _salt(seed: int) -> bytes:
    return seed.to_bytes(16, "big")


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise OptionError(f"seed={shown(seed)}: give a whole number from 0 to 2**63 - 1", field="seed")
    return seed


def _parts(parts: Any) -> dict[str, float]:
    example = "give shares that sum to 1, such as {'train': 0.9, 'test': 0.1}"
    if not isinstance(parts, Mapping) or not parts or not all(isinstance(name, str) for name in parts):
        raise OptionError(f"parts={shown(parts)}: {example}", field="parts")
    for name, share in parts.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise OptionError(f"parts[{name!r}]={shown(share)}: {example}", field="parts")
    if abs(math.fsum(parts.values()) - 1) > 1e-6:
        raise OptionError(f"parts={shown(dict(parts))} sum to {math.fsum(parts.values()):g}: {example}", field="parts")
    return dict(parts)


def _refuse_twice(items: list[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            message = f"two items are named {printable(item.id)}; names must differ: choose another id_column"
            raise DataError(message, field="items")
        seen.add(item.id)

"""What a hyper-parameter search tries: the values of options, as their bounds allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pydantic

from aigc_sdk import runtime
from aigc_sdk.errors import OptionError, shown
from aigc_sdk.protocols import Options

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

WIDE = 100  # times as high as low: searched by ratios rather than by differences
REACH = 10  # times the default, and the default by it, where the bounds are wide
TINY = 1e-300  # a lower bound of 0 that is not allowed itself is next to 0, and no place for a log scale to start
PLAIN = (type(None), bool, int, float, str)  # what a study's file can hold


def space(options: type[Options], *names: str, **instead: Any) -> dict[str, BaseDistribution]:
    """What to try for each of some options: Optuna's distributions by the options' names.

        space(trainer.Options, "learning_rate", "schedule", "weight_decay", batch_size=(4, 32), betas_of_adam=...)

    names: options whose own bounds say it. True or false and one of several words are tried whole. A number is tried between
        its bounds, on a log scale where the higher is at least 100 times the lower. Bounds say what is possible, though, and
        not always what is sensible: where there is none, or where the default lies within the lowest hundredth between them,
        the range goes from a tenth of the default to ten times as much, within the bounds, on a log scale.
    instead: for an option of that name a range `(low, high)`, a list of values, or a distribution of Optuna.

    Raises OptionError for an option that is not there, that has neither bounds nor a default to go by, or whose bounds do not
    allow what is to be tried, and MissingDependency without Optuna.
    """
    runtime.require("optuna", "aigc-sdk[search]", "hyper-parameter search")
    owner = options.__name__
    for name in (*names, *instead):
        if name not in options.model_fields:
            options.parse(owner, {name: None})  # refuses it, with the names that are known
    for name in names:
        if names.count(name) > 1 or name in instead:
            raise OptionError(f"{name} is named twice; name it once, alone or with what to try", field=name)
    schemas = options.model_json_schema()["properties"]
    found = {name: _derived(options, name, schemas[name]) for name in names}
    found |= {name: _given(options, name, value, schemas[name]) for name, value in instead.items()}
    for name, each in found.items():
        for value in _ends(each):
            _check(options, name, value)
    return {name: found[name] for name in options.model_fields if name in found}


def _derived(options: type[Options], name: str, schema: Mapping[str, Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    nullable, schema = _without_none(schema)
    if schema.get("type") == "boolean":
        return CategoricalDistribution([False, True, *nullable])
    if "enum" in schema:
        return CategoricalDistribution([*schema["enum"], *nullable])
    if schema.get("type") not in ("integer", "number"):
        raise OptionError(
            f"{name}: there are no bounds to search between; give a list of values: {name}=[...]", field=name
        )
    return _between(name, schema, options.model_fields[name].default)


def _without_none(schema: Mapping[str, Any]) -> tuple[list[None], Mapping[str, Any]]:
    """[None] where an option may be None, and the schema of what else it may be."""
    others = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
    if len(others) == 1:
        return [None], others[0]
    return [], schema


def _between(name: str, schema: Mapping[str, Any], default: Any) -> BaseDistribution:
    """The range of a number, by its bounds and its default."""
    low, high = _bounds(schema)
    positive = isinstance(default, int | float) and not isinstance(default, bool) and default > 0
    wide = low is None or high is None or (positive and (default - low) * WIDE < high - low)
    if wide and positive:
        low = max(default / REACH, -math.inf if low is None else low)
        high = min(default * REACH, math.inf if high is None else high)
        return _range(schema, low, high, log=low > TINY)
    if low is None or high is None:
        missing = "lower" if low is None else "upper"
        raise OptionError(
            f"{name} has no {missing} bound, nor a default to go by; give a range: {name}=(low, high)", field=name
        )
    return _range(schema, low, high, log=low > TINY and high >= WIDE * low)


def _bounds(schema: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The lowest and the highest number that is allowed; None where there is no bound."""
    low, high = schema.get("minimum"), schema.get("maximum")
    whole = schema["type"] == "integer"
    if "exclusiveMinimum" in schema:
        edge = schema["exclusiveMinimum"]
        low = math.floor(edge) + 1 if whole else math.nextafter(edge, math.inf)
    if "exclusiveMaximum" in schema:
        edge = schema["exclusiveMaximum"]
        high = math.ceil(edge) - 1 if whole else math.nextafter(edge, -math.inf)
    return low, high


def _given(options: type[Options], name: str, value: Any, schema: Mapping[str, Any]) -> BaseDistribution:
    """What somebody wants tried instead: (low, high), [value, ...] or a distribution."""
    from optuna.distributions import BaseDistribution, CategoricalDistribution

    if isinstance(value, BaseDistribution):
        return value
    if isinstance(value, list) and value:
        if not all(isinstance(each, PLAIN) for each in value):
            raise OptionError(f"{name}={shown(value)}: try numbers, words, true, false and None; no others", field=name)
        return CategoricalDistribution(value)
    numbers = isinstance(value, tuple) and len(value) == 2 and all(type(each) in (int, float) for each in value)
    schema = _without_none(schema)[1]
    if not numbers or schema.get("type") not in ("integer", "number") or not value[0] < value[1]:
        wanted = "a range (low, high) of a number, a list of values, or a distribution of Optuna"
        raise OptionError(f"{name}={shown(value)}: give {wanted}", field=name)
    for each in value:
        _check(options, name, each)
    return _range(schema, *value, log=value[0] > TINY and value[1] >= WIDE * value[0])


def _range(schema: Mapping[str, Any], low: float, high: float, *, log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if schema["type"] == "number":
        return FloatDistribution(float(low), float(high), log=log)
    step = int(schema.get("multipleOf", 1))
    first, last = math.ceil(low / step) * step, math.floor(high / step) * step
    return IntDistribution(first, last, log=log and step == 1, step=step)


def _ends(found: BaseDistribution) -> Sequence[Any]:
    """The values that have to be allowed for all between them to be."""
    from optuna.distributions import CategoricalDistribution

    return found.choices if isinstance(found, CategoricalDistribution) else (found.low, found.high)  # type: ignore[attr-defined]


def _check(options: type[Options], name: str, value: Any) -> None:
    """Refuse a value that the option itself does not allow; whether options go together, each trial will tell."""
    try:
        options(**{name: value})
    except pydantic.ValidationError as error:
        for fault in error.errors(include_url=False):
            if fault["loc"][:1] == (name,):
                raise OptionError(options._fault(options.__name__, fault), field=name) from error

"""What a call may set: the models that validation, command-line flags, forms, schemas and the docs' tables come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import pydantic

from .errors import OptionError, shown, suggestion

OptionsClass: TypeAlias = "type[Options]"


class Options(pydantic.BaseModel):
    """What one call may set: the single source of validation, command-line flags, forms, schemas and the docs' tables.

    Subclass it with a description, unit and bounds on every field. Misspelt names, other types, NaN and infinity are refused.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, owner: str, values: Mapping[str, Any]) -> Self:
        """Validate `values`; every fault is named in one OptionError. `owner` is who takes the options."""
        try:
            return cls(**values)
        except pydantic.ValidationError as error:
            faults = [cls._fault(owner, fault) for fault in error.errors(include_url=False)]
            where = [cls._field(fault) for fault in error.errors()]
            raise OptionError("\n".join(faults), field=where[0]) from error

    def of_prompt(self, index: int) -> Self:
        """What these options say of one prompt of a call; a backend with options that may differ by prompt overrides it."""
        return self

    @classmethod
    def _field(cls, fault: Any) -> str | None:
        """The option that a fault is in; where several do not fit together, the first that the message names."""
        if fault["loc"]:
            return str(fault["loc"][0])
        return next((word for word in re.findall(r"\w+", fault["msg"]) if word in cls.model_fields), None)

    @classmethod
    def _fault(cls, owner: str, fault: Any) -> str:
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            known = list(cls.model_fields)
            return f"{owner} has no option {name!r}.{suggestion(name, known)} Options: {', '.join(known) or 'none'}."
        described = cls.model_fields[name].description if name in cls.model_fields else None
        reason = str(fault["msg"]).removeprefix("Value error, ")
        if not name:
            return f"{owner}: {reason}"
        about = f" ({name}: {described})" if described else ""
        return f"{owner} option {name}={shown(fault['input'])}: {reason[:1].lower()}{reason[1:]}.{about}"

"""What the evaluators share that keep nothing of their own: models are named in a call's options, or given as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigc_sdk import folder, runtime
from aigc_sdk.errors import MismatchedFolder, NotAModel, NotOffered, OptionError
from aigc_sdk.protocols import Evaluator, Options, Source


def check_device(device: str) -> None:
    """Refuse a device that is not there; torch is imported only for what needs it."""
    if device not in ("auto", "cpu"):
        runtime.device(device)


def check_saved(source: Source, backend: str, revision: str | None) -> None:
    """Refuse a folder that no evaluator of `backend` has saved; None and "default" are none."""
    if source is None or source == "default":
        return
    opened = folder.read(source, backend=backend, revision=revision)
    if opened.manifest is None:
        raise NotAModel(f"{opened.path} has no {folder.MANIFEST}; open a folder that this evaluator has saved")
    if opened.manifest["role"] != "evaluator":
        raise MismatchedFolder(f"{opened.path} holds no evaluator")


def refuse_own(judge: Evaluator, own: dict[str, Any]) -> None:
    """Refuse to save functions and models that were given rather than named."""
    given = [name for name, each in own.items() if each is not None]
    if given:
        what = f"a {type(judge).__name__} with its own {' and '.join(given)} cannot be saved"
        raise NotOffered(f"{what}; name it in the call's options")


def needed(own: dict[str, Any], name: str, options: Options, who: str) -> Any:
    """The model of one's own, or what the option names. Raises OptionError where there is neither."""
    given = own[name] if own[name] is not None else getattr(options, name)
    if not given:
        needs = type(options).model_fields[name].description
        raise OptionError(f"{who} needs the option {name}: {needs}; pass {name}=", field=name)
    return given


def once(opened: dict[tuple[Any, ...], Any], key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What was opened for an earlier call is used again."""
    if key not in opened:
        opened[key] = make()
    return opened[key]

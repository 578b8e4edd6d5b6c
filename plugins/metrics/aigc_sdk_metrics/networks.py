"""Feature networks in torch: modules of the caller's, and models from folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from aigc_sdk import folder, runtime
from aigc_sdk.errors import InputError, MismatchedFolder, MissingDependency, printable, suggestion

from .features import Backbone, Looked
from .prepare import Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aigc_sdk.folder import Folder

BATCH_OF_FILMS = 2


class Module:
    """A torch module as a feature network."""

    def __init__(self, network: nn.Module, prepare: Preparation, layers: tuple[str, ...], classifies: bool) -> None:
        known = dict(network.named_modules())
        for name in layers:
            if name not in known:
                raise InputError(f"the network has no layer {name!r}.{suggestion(name, known)}", field="layers")
        self.network, self.prepare, self.layers, self.classifies = network.eval(), prepare, layers, classifies
        self.digest = f"{type(network).__name__} {runtime.fingerprint(network)[:12]}"

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Looked:
        """Looks at pictures without gradients."""
        seen: dict[str, Tensor] = {}
        hooks = [self.network.get_submodule(name).register_forward_hook(_keeping(seen, name)) for name in self.layers]
        try:
            with torch.inference_mode():
                made = self.network(_tensor(self.prepare, pictures, self.network))
        finally:
            for hook in hooks:
                hook.remove()
        features = made.flatten(2).mean(2) if made.ndim > 2 else made  # (n, d)
        probabilities = _numpy(features.double().softmax(1)) if self.classifies else None
        return Looked(_numpy(features), probabilities, tuple(_numpy(seen[name]) for name in self.layers))


class Transformer:
    """A picture model of transformers: pooled features, probabilities where it classifies, hidden states as layers."""

    def __init__(self, network: Any, prepare: Preparation, *, deep: bool = False) -> None:
        self.network, self.prepare, self.deep = network.eval(), prepare, deep

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Looked:
        pixels = _tensor(self.prepare, pictures, self.network)
        with torch.inference_mode():
            if hasattr(self.network, "get_image_features"):
                made = self.network.get_image_features(pixel_values=pixels)
                return Looked(_numpy(made.pooler_output))
            heads: list[Tensor] = []
            head = getattr(self.network, "classifier", None)
            hook = head.register_forward_pre_hook(lambda _, given: heads.append(given[0])) if head is not None else None
            try:
                made = self.network(pixel_values=pixels, output_hidden_states=self.deep)
            finally:
                if hook is not None:
                    hook.remove()
        layers = tuple(_numpy(_channels_first(each)) for each in made.hidden_states) if self.deep else ()
        if heads:
            return Looked(_numpy(heads[0].flatten(1)), _numpy(made.logits.double().softmax(1)), layers)
        return Looked(_numpy(_pooled(made)), None, layers)


class FilmTransformer:
    """A film model of transformers, such as VideoMAE: the mean of its last states over `frames` frames, evenly taken."""

    def __init__(self, network: nn.Module, prepare: Preparation, frames: int) -> None:
        self.network, self.prepare, self.frames = network.eval(), prepare, frames

    def __call__(self, films: Sequence[NDArray[np.uint8]]) -> Looked:
        device = next(self.network.parameters())
        taken = [each[np.linspace(0, len(each) - 1, self.frames).round().astype(int)] for each in films]
        planes = torch.from_numpy(np.stack([self.prepare(list(each)) for each in taken]))  # (n, t, 3, h, w)
        with torch.inference_mode():
            made = self.network(pixel_values=planes.to(device.device, device.dtype))
        return Looked(_numpy(made.last_hidden_state.mean(1)))


def open_folder(source: str | Path, *, device: str = "auto", films: bool = False) -> Backbone:
    """The picture model, or the film model, in a folder of transformers'. Raises FolderError or MismatchedFolder."""
    try:
        from transformers import AutoModel, AutoModelForImageClassification

        from aigc_sdk.weights import load_transformers, quiet
    except ImportError as error:
        message = f'a model folder needs transformers and torch; pip install "aigc-sdk-metrics[encoder]": {error}'
        raise MissingDependency(message) from error
    place = runtime.device(device)
    opened = folder.read(source, backend="video-metrics" if films else "image-metrics")
    config = opened.config()
    classifies = any(str(each).endswith("ForImageClassification") for each in config.get("architectures") or ())
    _check_kind(opened, config, films)
    model = AutoModelForImageClassification if classifies else AutoModel
    with quiet(), runtime.memory_errors(f"the model {opened.source}", "use a smaller one"):
        network: Any = load_transformers(opened, model).to(place)  # type: ignore[arg-type]
    vision = getattr(network.config, "vision_config", network.config)
    size = getattr(vision, "image_size", None)
    prepare = Preparation.read(opened, size if isinstance(size, int) else None)
    about = f"{type(network).__name__} {runtime.fingerprint(network)[:12]}, {prepare}"
    name = printable(Path(opened.source).name).translate({ord("["): "(", ord("]"): ")"})
    if films:
        frames = int(network.config.num_frames)
        look = FilmTransformer(network, prepare, frames)
        return Backbone(look, name, f"{about}, {frames} frames evenly taken, mean of the last states", BATCH_OF_FILMS)
    deep = None if hasattr(network, "get_image_features") else Transformer(network, prepare, deep=True)
    return Backbone(Transformer(network, prepare), name, about, deep=deep)


def _check_kind(opened: Folder, config: dict[str, Any], films: bool) -> None:
    """A film model says how many frames it reads; a picture model does not."""
    if ("num_frames" in config) != films:
        kind, wanted = ("pictures", "films") if films else ("films", "pictures")
        message = (
            f"{opened.path} holds a {printable(str(config.get('model_type')))!r} model of {kind}; give one of {wanted}"
        )
        raise MismatchedFolder(message)


def legacy_bilinear(pixels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The square of `size` as TensorFlow 1's resize_bilinear makes it: pixel i is taken at i * side / size, not smoothed."""
    planes = pixels.astype(np.float32)
    for axis in (0, 1):
        side = planes.shape[axis]
        places = np.arange(size, dtype=np.float32) * np.float32(side / size)
        low = np.floor(places).astype(np.int64)
        high = np.minimum(low + 1, side - 1)
        part = (places - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        below, above = planes.take(low, axis), planes.take(high, axis)
        planes = below + (above - below) * part
    return planes


def _tensor(prepare: Preparation, pictures: Sequence[NDArray[np.uint8]], network: nn.Module) -> Tensor:
    like = next(network.parameters(), torch.zeros(()))
    return torch.from_numpy(prepare(pictures)).to(like.device, like.dtype)


def _keeping(seen: dict[str, Tensor], name: str) -> Any:
    def keep(_: Any, __: Any, made: Tensor) -> None:
        seen[name] = made

    return keep


def _pooled(made: Any) -> Tensor:
    pooled = getattr(made, "pooler_output", None)
    last: Tensor = made.last_hidden_state if pooled is None else pooled
    return last.mean(1) if last.ndim == 3 else last.flatten(2).mean(2) if last.ndim == 4 else last


def _channels_first(state: Tensor) -> Tensor:
    return state.transpose(1, 2) if state.ndim == 3 else state  # tokens: (n, positions, c) to (n, c, positions)


def _numpy(tensor: Tensor) -> NDArray[np.floating]:
    made = tensor.detach().cpu()
    return np.asarray((made if made.dtype in (torch.float32, torch.float64) else made.float()).numpy())

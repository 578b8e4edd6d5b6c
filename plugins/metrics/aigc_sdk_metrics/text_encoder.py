"""Texts as vectors, by a transformer from any model folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aigc_sdk import folder, runtime, storage
from aigc_sdk.errors import DataError, MissingDependency, OptionError, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 32  # texts at a time
_HEAD = re.compile(
    r"(.*\.)?(pooler|cls|classifier|score|lm_head|qa_outputs|predictions|vocab_\w+|pre_classifier)(\..*)?"
)


@dataclass(frozen=True)
class Encoded:
    """One text: the state of each token (tokens, d), and which tokens the tokenizer has added."""

    states: NDArray[np.float32]
    special: NDArray[np.bool_]

    def mean(self) -> NDArray[np.float32]:
        """One vector (d,): the mean over the text's own tokens; over all where it has none."""
        import numpy as np

        own = ~self.special if not self.special.all() else np.ones_like(self.special)
        return np.asarray(self.states[own].mean(0), np.float32)


class Encoder:
    """A transformer and its tokenizer; `layer` is 0 for the embeddings, and None for the last."""

    def __init__(self, network: Any, tokenizer: Any, *, layer: int | None = None, source: str = "") -> None:
        layers = int(network.config.num_hidden_layers)
        if layer is not None and not 0 <= layer <= layers:
            raise OptionError(f"layer={layer}: the encoder has the layers 0 to {layers}", field="layer")
        self.network, self.tokenizer = network.eval(), tokenizer
        self.layer = layers if layer is None else layer
        self.longest = int(getattr(network.config, "max_position_embeddings", None) or 1 << 30)
        name = source or f"{type(network).__name__} ({runtime.fingerprint(network)[:12]})"
        self.described = f"{name}, layer {self.layer} of {layers}"

    @classmethod
    def open(cls, source: str | Path, *, device: str = "auto", layer: int | None = None) -> Self:
        """The encoder in a folder, of any backend or of transformers, or on the hub. Raises FolderError."""
        try:
            from transformers import AutoModel

            from aigc_sdk.weights import load_tokenizer, load_transformers, quiet, weight_files
        except ImportError as error:
            message = f'an encoder needs transformers and torch; pip install "aigc-sdk-metrics[encoder]": {error}'
            raise MissingDependency(message) from error
        place = runtime.device(device)
        opened = folder.read(source, backend=_owner(source))
        tokenizer = load_tokenizer(opened)
        # Heads are left over, and a pooler may be missing, which is then drawn at random: neither is looked at.
        with quiet(), runtime.LentState(0), runtime.memory_errors(f"the encoder {opened.source}", "use a smaller one"):
            network: Any = load_transformers(opened, AutoModel, free=_is_head).to(place)  # type: ignore[arg-type]
        digest = hashlib.sha256("".join(map(storage.sha256, weight_files(opened.path))).encode()).hexdigest()
        return cls(network, tokenizer, layer=layer, source=f"{opened.source} ({digest[:12]})")

    def encode(self, texts: Sequence[str], name: str = "samples") -> list[Encoded]:
        """Every text with its tokens' states. Raises DataError for one that the encoder cannot read whole."""
        found: dict[str, Encoded] = {}
        wanted = list(dict.fromkeys(texts))
        tokens = self._tokens(wanted)
        for text, row in zip(wanted, tokens, strict=True):
            if len(row.ids) > self.longest:
                message = (
                    f"{name}: {printable(text, 40)!r} has {len(row.ids):,} tokens, and the encoder reads at most "
                    f"{self.longest:,}; shorten it"
                )
                raise DataError(message, field=name)
        order = sorted(range(len(wanted)), key=lambda index: len(tokens[index].ids))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            for index, encoded in zip(some, self._states([tokens[index] for index in some]), strict=True):
                found[wanted[index]] = encoded
        return [found[each] for each in texts]

    def _tokens(self, texts: list[str]) -> list[Any]:
        """Whole texts, whatever padding and truncation the tokenizer's file has set."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        return list(backend.encode_batch(texts))

    def _states(self, rows: list[Any]) -> list[Encoded]:
        """Filled up on the right, where attention does not look."""
        import numpy as np
        import torch

        lengths = [len(row.ids) for row in rows]
        inputs = torch.zeros(len(rows), max(1, *lengths), dtype=torch.int64)  # (n, tokens)
        mask = torch.zeros_like(inputs)
        for index, row in enumerate(rows):
            inputs[index, : lengths[index]] = torch.tensor(row.ids, dtype=torch.int64)
            mask[index, : max(1, lengths[index])] = 1  # an encoder cannot read nothing
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            hidden = self.network(
                input_ids=inputs.to(device), attention_mask=mask.to(device), output_hidden_states=True
            ).hidden_states[self.layer]  # (n, tokens, d)
        states = hidden.float().cpu().numpy()
        return [
            Encoded(states[index, :length], np.array(row.special_tokens_mask, bool))
            for index, (length, row) in enumerate(zip(lengths, rows, strict=True))
        ]


def _is_head(name: str) -> bool:
    return bool(_HEAD.fullmatch(name))


def _owner(source: str | Path) -> str:
    """The backend that a folder names: an encoder is taken from any."""
    path = Path(source)
    if (path / folder.MANIFEST).is_file() or (path / folder.RUN).is_file():
        return folder.backend_of(path)
    return "text-metrics"

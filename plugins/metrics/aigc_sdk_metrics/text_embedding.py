"""What an encoder says of texts: BERTScore of pairs, MAUVE of two sets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.errors import DataError, InputError
from aigc_sdk.protocols import Score

from .accumulate import KEPT, TIMES, Array, Figure, Metric, Rows, Summed, ratio
from .mauve import CLUSTERS_LIMIT, SCALE, mauve_score
from .text_batch import TextBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .text_encoder import Encoded, Encoder

NAMES = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
MAUVE_TEXTS = 20_000  # of each side; their vectors are kept


class BERTScore(Summed):
    """Words matched by the likeness of their states in an encoder (Zhang et al. 2020), without rescaling or idf.

    Each token is matched with the one most like it on the other side, by cosine. As in the authors' package, tokens that
    the tokenizer adds may be matched with, and count for nothing themselves; of several references the best F1 counts.
    """

    name = "bertscore"
    batch = TextBatch
    needs_references = True
    size = len(NAMES) + 1

    def __init__(self, encoder: Encoder, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.encoder = encoder

    def measure(self, batch: Any) -> Array:
        """[precision, recall, F1, 1]."""
        samples, references = encoded(batch, self.encoder)
        against = iter(references)
        found = []
        for text, its in zip(samples, batch.references, strict=True):
            pairs = [matched(text, next(against)) for _ in its]
            found.append([*max(pairs, key=lambda each: each[2]), 1.0])
        return np.array(found)

    def figures(self) -> dict[str, Figure]:
        """Means over texts."""
        protocol = f"cosine matching by {self.encoder.described}, no idf, not rescaled, mean over texts"
        return {
            name: Figure(partial(ratio, above=index, below=len(NAMES)), protocol, higher_is_better=True)
            for index, name in enumerate(NAMES)
        }

    def rows(self, statistics: Array) -> Rows:
        """All three."""
        return [dict(zip(NAMES, each, strict=False)) for each in statistics[:, : len(NAMES)].tolist()]


class Mauve(Metric):
    """How near the texts come to the references as a set, not one by one (Pillutla et al. 2021): 1 is the same, 0 far.

    The vectors are means of an encoder's states; the paper took the last token's of GPT-2 large, so that figures of another
    encoder compare only with each other. Its state holds the vectors, of at most MAUVE_TEXTS on each side.
    """

    name = "mauve"
    batch = TextBatch
    needs_references = True

    def __init__(
        self, encoder: Encoder, *, clusters: int | None = None, scale: float = SCALE, most: int = MAUVE_TEXTS
    ) -> None:
        if clusters is not None and not 2 <= clusters <= CLUSTERS_LIMIT:
            raise InputError(f"clusters={clusters}: give 2 to {CLUSTERS_LIMIT:,}", field="clusters")
        self.encoder, self.clusters, self.scale, self.most = encoder, clusters, scale, most
        self.samples: list[NDArray[np.float32]] = []
        self.references: list[NDArray[np.float32]] = []

    def gather(self, batch: Any) -> Rows:
        """Keep the vectors of a batch."""
        samples, references = encoded(batch, self.encoder)
        self._take([each.mean() for each in samples], [each.mean() for each in references])
        return []

    def merge(self, other: Self) -> None:
        """Take in the vectors of others."""
        if type(other) is not type(self) or other._settings() != self._settings():
            raise InputError(f"mauve cannot be merged with {other!r}, whose encoder or settings differ", field="other")
        self._take(other.samples, other.references)

    def compute(self, times: int = TIMES, seed: int = 0) -> dict[str, Score]:
        """One score, 0 to 1."""
        if min(len(self.samples), len(self.references)) < 2:
            message = f"mauve compares sets and has {len(self.samples)} samples; give two or more, better thousands"
            raise DataError(message, field="samples")
        return {
            "mauve": mauve_score(
                np.stack(self.samples),
                np.stack(self.references),
                f"means of the states of {self.encoder.described}",
                clusters=self.clusters,
                scale=self.scale,
                times=times,
                seed=seed,
            )
        }

    def _take(self, samples: list[NDArray[np.float32]], references: list[NDArray[np.float32]]) -> None:
        for kept, fresh, name in ((self.samples, samples, "samples"), (self.references, references, "references")):
            if len(kept) + len(fresh) > self.most:
                message = f"mauve keeps the vectors of at most {self.most:,} {name}; evaluate fewer, or leave it out"
                raise DataError(message, field=name)
        self.samples += samples
        self.references += references

    def _settings(self) -> tuple[Any, ...]:
        return (self.encoder.described, self.clusters, self.scale, self.most)


def encoded(batch: TextBatch, encoder: Encoder) -> tuple[list[Encoded], list[Encoded]]:
    """The samples, and all references one after another; encoded once for all metrics of a batch."""
    references = [each for its in batch.references or () for each in its]
    key = ("encoded", encoder.described)
    return batch.once(key, lambda: (encoder.encode(batch.samples), encoder.encode(references, "references")))


def matched(text: Encoded, reference: Encoded) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair; 0 where either has no tokens of its own."""
    if text.special.all() or reference.special.all():
        return 0.0, 0.0, 0.0
    likeness = _unit(text.states) @ _unit(reference.states).T  # (tokens of the text, tokens of the reference)
    precision = float(likeness.max(1)[~text.special].mean())
    recall = float(likeness.max(0)[~reference.special].mean())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both > 0 else 0.0


def _unit(states: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = states.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))

"""The evaluator: bits per byte and perplexity of texts."""

from __future__ import annotations

import hashlib
import math

from aigc_sdk import Exam, Report, Score, Step, Text
from aigc_sdk.errors import DataError
from aigc_sdk.judges import ModelEvaluator

from .likelihood import foreseen
from .model import RNN


class BitsPerByte(ModelEvaluator[RNN]):
    """How well a model foresees texts.

        report = aigc_sdk.evaluator("rnn", "runs/mine").evaluate([text])
        report["bits_per_byte"].value

    Bits per byte compares models with different tokens; perplexity, which is per token, does not. Each text is read on its
    own after a line end, from its beginning to its end with one state.
    """

    Model = RNN

    def run(self, exam: Exam) -> Report:
        """One row per text, and the scores over all bytes and all tokens. Raises DataError for what is no text."""
        rows: list[dict[str, float]] = []
        for index, sample in enumerate(exam.samples):
            if not isinstance(sample, Text) or not sample.text:
                raise DataError(f"samples[{index}] is no text with characters; rnn judges Text", field="samples")
            found, size = foreseen(self.model, sample.text), len(sample.text.encode())
            bits = found.nats / math.log(2) / size
            rows.append({"nats": found.nats, "tokens": found.tokens, "bytes": size, "bits_per_byte": bits})
            exam.on_step(Step(index + 1, len(exam.samples)))
        nats, tokens, total = (math.fsum(row[name] for row in rows) for name in ("nats", "tokens", "bytes"))
        protocol = self._protocol(int(tokens), int(total))
        values = {"bits_per_byte": nats / math.log(2) / total, "perplexity": math.exp(min(nats / tokens, 700))}
        scores = {name: Score(value, len(rows), protocol, higher_is_better=False) for name, value in values.items()}
        return Report(scores, rows)

    def _protocol(self, tokens: int, size: int) -> str:
        known = self.model.tokens
        digest = hashlib.sha256(known.describe().encode()).hexdigest()[:12]
        unknown = "" if known.unknown is None else "unknown characters uniform over all others, "
        return (
            f"each text after a line end with one state throughout, {len(known.pieces):,} {known.kind} "
            f"(sha256 {digest}), {unknown}{tokens:,} tokens, {size:,} bytes, {self.model.dtype}"
        )

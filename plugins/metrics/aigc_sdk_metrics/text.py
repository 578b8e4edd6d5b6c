"""The evaluator of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from aigc_sdk import load
from aigc_sdk.protocols import Exam, Options, OptionsClass, Report

from .accumulate import Metric, judge
from .mauve import CLUSTERS_LIMIT, SCALE
from .opening import MetricsEvaluator, known
from .text_batch import TextBatch
from .text_words import Words

BACKEND = "text-metrics"
DEFAULT = ("bleu", "chrf", "rouge")

Size = Annotated[int, Field(ge=1, le=64)]


class TextOptions(Options):
    """What is measured, and how texts become words."""

    metrics: tuple[str, ...] = Field(
        DEFAULT,
        min_length=1,
        strict=False,
        description="any of bleu, chrf, ter, rouge, bertscore, mauve, perplexity, distinct, self_bleu, repetition, novelty, "
        "readability",
    )
    bleu_tokenizer: Literal["13a", "intl", "zh", "ja-mecab", "char", "none"] = Field(
        "13a", description="sacrebleu's tokenizer for BLEU; zh for Chinese, ja-mecab for Japanese, char for any"
    )
    lowercase: bool = Field(False, description="BLEU and chrF of texts in lower case")
    rouge_tokenizer: Literal["rouge_score", "words", "characters"] = Field(
        "rouge_score", description="words of ROUGE: a-z and 0-9 as rouge_score has them, of any script, or characters"
    )
    rouge_stemmer: bool = Field(False, description="ROUGE of English words without their endings")
    words: Words = Field("words", description="words of distinct, self_bleu, repetition and novelty")
    distinct_sizes: tuple[Size, ...] = Field(
        (1, 2, 3), min_length=1, max_length=8, strict=False, description="words of the n-grams of distinct"
    )
    repetition_size: int = Field(4, ge=1, le=64, description="words of the n-grams of repetition")
    novelty_sizes: tuple[Size, ...] = Field(
        (4, 8), min_length=1, max_length=8, strict=False, description="words of the n-grams of novelty"
    )
    training: tuple[str, ...] = Field(
        (), strict=False, description="files, or folders of .txt and .md, that novelty compares with"
    )
    encoder: str | None = Field(None, description="folder or hub id of the transformer of bertscore and mauve")
    layer: int | None = Field(None, ge=0, le=2048, description="its layer, 0 for the embeddings; None: the last")
    scorer: str | None = Field(None, description="backend or model folder that scores texts for perplexity")
    mauve_clusters: int | None = Field(
        None, ge=2, le=CLUSTERS_LIMIT, description="clusters of mauve; None: a tenth of the texts"
    )
    mauve_scale: float = Field(SCALE, gt=0, le=100, description="how mauve spreads over 0 to 1")
    bootstrap: int = Field(1000, ge=0, le=100_000, description="resamplings of the samples for the intervals; 0: none")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the resamplings and of mauve's clusters")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known(names, MAKERS)

    @field_validator("distinct_sizes", "novelty_sizes")
    @classmethod
    def _once_each(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(sizes))


class TextMetrics(MetricsEvaluator):
    """Scores of texts, most of them against references.

        judge = aigc_sdk.evaluator("text-metrics")
        report = judge.evaluate(texts, references, metrics=("bleu", "rouge"))

    references: a text for each sample, or a list of texts. scorer, encoder, training: models and texts of your own, instead
    of the options of these names: what `Likelihood`, `BERTScore` and `Novelty` take.
    """

    Options: ClassVar[OptionsClass] = TextOptions
    name = BACKEND
    batch = TextBatch

    def __init__(self, *, device: str = "auto", scorer: Any = None, encoder: Any = None, training: Any = None) -> None:
        super().__init__(device=device, scorer=scorer, encoder=encoder, training=training)

    def run(self, exam: Exam) -> Report:
        """All metrics in one pass; no model is opened for texts that are none."""
        options: TextOptions = exam.options
        return judge(self.metrics(options), exam, TextBatch, times=options.bootstrap, seed=options.seed)

    def metrics(self, options: TextOptions | None = None) -> Iterator[Metric]:
        """The metrics that a call with these options would use, to be updated and merged by yourself."""
        options = options or TextOptions.parse(BACKEND, {})
        for name in options.metrics:
            yield from MAKERS[name](self, options)

    def scorer(self, options: TextOptions) -> Any:
        """The model that scores texts."""
        given = self.needed("scorer", options, "perplexity")
        if self._own["scorer"] is not None:
            return given
        return self.once(("scorer", given), partial(load, given, device=self.device))

    def encoder(self, options: TextOptions) -> Any:
        """The model that makes vectors of texts."""
        given = self.needed("encoder", options, "bertscore and mauve")
        if self._own["encoder"] is not None:
            return given
        from .text_encoder import Encoder

        make = partial(Encoder.open, given, device=self.device, layer=options.layer)
        return self.once(("encoder", given, options.layer), make)

    def training(self, options: TextOptions) -> Any:
        """The n-grams of the training text."""
        given = self.needed("training", options, "novelty")
        if self._own["training"] is not None:
            return given
        from .text_novelty import Training, read_training

        return Training(read_training(given), options.novelty_sizes, options.words)


def _bleu(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_overlap import BLEU

    yield BLEU(options.bleu_tokenizer, lowercase=options.lowercase)


def _chrf(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_overlap import ChrF

    yield ChrF(lowercase=options.lowercase)


def _ter(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_overlap import TER

    yield TER()


def _rouge(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_rouge import Rouge

    yield Rouge(options.rouge_tokenizer, stemmer=options.rouge_stemmer)


def _bertscore(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_embedding import BERTScore

    yield BERTScore(judge.encoder(options))


def _mauve(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_embedding import Mauve

    yield Mauve(judge.encoder(options), clusters=options.mauve_clusters, scale=options.mauve_scale)


def _perplexity(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_likelihood import Likelihood

    yield Likelihood(judge.scorer(options))


def _distinct(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_diversity import Distinct

    for size in options.distinct_sizes:
        yield Distinct(size, options.words)


def _self_bleu(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_diversity import SelfBLEU

    yield SelfBLEU(options.words)


def _repetition(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_diversity import Repetition

    yield Repetition(options.repetition_size, options.words)


def _novelty(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_novelty import Novelty

    yield Novelty(judge.training(options))


def _readability(judge: TextMetrics, options: TextOptions) -> Iterator[Metric]:
    from .text_readability import Readability

    yield Readability()


MAKERS: dict[str, Callable[[TextMetrics, TextOptions], Iterator[Metric]]] = {
    "bleu": _bleu,
    "chrf": _chrf,
    "ter": _ter,
    "rouge": _rouge,
    "bertscore": _bertscore,
    "mauve": _mauve,
    "perplexity": _perplexity,
    "distinct": _distinct,
    "self_bleu": _self_bleu,
    "repetition": _repetition,
    "novelty": _novelty,
    "readability": _readability,
}
"""How each metric is made of the options. Modules are imported when one asks for what is in them."""

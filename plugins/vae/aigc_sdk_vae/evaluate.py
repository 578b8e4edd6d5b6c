"""The evaluator: how probable pictures are under a model, what that costs in bits, how much of them survives."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError
from aigc_sdk.judges import ModelEvaluator
from aigc_sdk.protocols import Exam, Options, OptionsClass, Report, Score, Step

from .measure import Measured, Values, measure
from .model import DRAWS_LIMIT, VAE
from .network import VQNetwork

ACTIVE = 0.01  # variance of a latent's mean over pictures, above which it is in use (Burda et al. 2016)


class Judging(Options):
    """How pictures are judged."""

    draws: int = Field(
        64, ge=1, le=DRAWS_LIMIT, description="draws per picture; more bring the likelihood nearer to log p"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the draws")


class Likelihood(ModelEvaluator[VAE]):
    """Bounds on the likelihood of pictures under a VAE, and how well it reconstructs them.

        report = aigc_sdk.evaluator("vae", "runs/mine").evaluate(images, labels)
        report["bits_per_dimension"].value

    references: a label per picture, where the model has labels. Scores: elbo (nats per picture), log_likelihood (by
    importance sampling; not for codes, of which a picture has one choice), bits_per_dimension (of the better of the two;
    not for a Bernoulli likelihood of grey pixels, which is none), rate (nats), reconstruction_error (levels of 0 to 255),
    active_units (latents in use) or active_codes.
    """

    Options: ClassVar[OptionsClass] = Judging
    Model = VAE

    def run(self, exam: Exam) -> Report:
        for index, each in enumerate(exam.samples):
            if not isinstance(each, Image):
                raise DataError(f"samples[{index}] is a {type(each).__name__}; a VAE judges images", field="samples")
        labels = None if exam.references is None else _labels(exam.references)
        pixels, its = self.model.read(list(exam.samples), labels, name="samples")
        options: Judging = exam.options
        found = measure(
            self.model.network,
            pixels,
            its,
            options.draws,
            options.seed,
            lambda done: exam.on_step(Step(done, len(pixels))),
        )
        binary = bool((pixels.abs() == 1).all())
        return Report(self._scores(found, options, binary), _rows(found))

    def _scores(self, found: Measured, options: Judging, binary: bool) -> dict[str, Score]:
        sizes, n = self.model.sizes, len(found.elbo)
        likelihood, pixels = self._described(binary), sizes.channels * sizes.size**2
        about = f"{likelihood}, {sizes.size}x{sizes.size}x{sizes.channels} pixels in [-1, 1], {self.model.dtype}"
        drawn = "1 choice of codes" if found.log_likelihood is None else f"{options.draws} draws per picture"
        scores = {"elbo": _mean(found.elbo, f"evidence bound in nats per picture, {drawn}; {about}", higher=True)}
        best, bound = found.elbo, f"of the evidence bound, {drawn}"
        if found.log_likelihood is not None:
            best, bound = found.log_likelihood, f"of log p by importance sampling, {drawn}"
            scores["log_likelihood"] = _mean(
                best, f"log p in nats per picture by importance sampling, {drawn}; {about}", higher=True
            )
        if sizes.likelihood != "bernoulli" or binary:
            density = math.log(127.5) if sizes.likelihood == "gaussian" else 0.0  # of values to that of levels
            bits = (density - best / pixels) / math.log(2)
            scores["bits_per_dimension"] = _mean(bits, f"{bound}; {about}", higher=False)
        scores["rate"] = _mean(found.rate, f"what latents cost, in nats per picture, {drawn}; {about}", higher=False)
        value = 127.5 * math.sqrt(found.error.mean())
        protocol = f"root mean squared difference in levels of 0 to 255, of what the latents' means decode to; {about}"
        scores["reconstruction_error"] = Score(value, n, protocol, higher_is_better=False)
        return {**scores, **self._active(found, n)}

    def _active(self, found: Measured, n: int) -> dict[str, Score]:
        """How many latents, or codes, are in use."""
        network = self.model.network
        if isinstance(network, VQNetwork):
            entries, used = len(network.codebook.entries), len(np.unique(found.latents))
            return {"active_codes": Score(used, n, f"codes that occur, of {entries}", higher_is_better=True)}
        if n < 2:
            return {}
        used = int((found.latents.astype(np.float64).var(0, ddof=1) > ACTIVE).sum())
        protocol = (
            f"latents whose mean varies by more than {ACTIVE} over the pictures (variance), of {self.model.latent}"
        )
        return {"active_units": Score(used, n, protocol, higher_is_better=True)}

    def _described(self, binary: bool) -> str:
        sizes = self.model.sizes
        if sizes.likelihood == "logistic":
            return f"discretised logistic likelihood of 256 values, scale {sizes.variance}"
        if sizes.likelihood == "gaussian":
            return f"Gaussian density of pixels as real numbers, not dequantised, variance {sizes.variance}"
        return (
            "Bernoulli likelihood of binary pixels"
            if binary
            else "Bernoulli cross-entropy of grey pixels, no likelihood"
        )


def _labels(references: tuple[Any, ...]) -> list[Any]:
    for index, each in enumerate(references):
        if isinstance(each, bool) or not isinstance(each, str | int):
            raise DataError(f"references[{index}] is {each!r}; pass a label's name or number", field="references")
    return list(references)


def _mean(values: Values, protocol: str, *, higher: bool) -> Score:
    """The mean over pictures, and the interval that it is in with 95 % where the pictures are a fair draw."""
    value, n = float(values.mean()), len(values)
    if n < 2:
        return Score(value, n, protocol, higher)
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(n)
    return Score(value, n, f"{protocol}; 95 % interval of the mean over pictures", higher, (value - half, value + half))


def _rows(found: Measured) -> list[dict[str, Any]]:
    rows = [
        {"elbo": float(elbo), "rate": float(rate), "reconstruction_error": 127.5 * math.sqrt(error)}
        for elbo, rate, error in zip(found.elbo, found.rate, found.error, strict=True)
    ]
    if found.log_likelihood is not None:
        for row, value in zip(rows, found.log_likelihood, strict=True):
            row["log_likelihood"] = float(value)
    return rows

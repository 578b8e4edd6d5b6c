"""The contract kit, run on the evaluator of texts."""

from typing import Any

import pytest

from aigc_sdk.testing import EvaluatorContract
from aigc_sdk_metrics.text import TextMetrics

METRICS = ("bleu", "chrf", "ter", "rouge", "distinct", "self_bleu", "repetition", "readability")


class TestText(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> TextMetrics:
        return TextMetrics.open()

    @pytest.fixture
    def samples(self) -> list[Any]:
        return ["the cat sat on the mat", "a grey sky over the sea", "no rain fell at all today"]

    @pytest.fixture
    def references(self) -> list[Any]:
        return ["the cat sat on a mat", ["the sky is grey", "a grey sea"], "there was no rain today"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"metrics": METRICS, "bootstrap": 100}


class TestTextByDefault(TestText):
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {}

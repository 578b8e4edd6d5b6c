"""The contract kit: subclass, give a model, and pytest proves that your backend keeps its promises.

    from aigc_sdk.testing import GeneratorContract

    class TestEcho(GeneratorContract):
        @pytest.fixture
        def model(self):
            return Echo.open()

Every check is a test of its own, so `pytest -k mid_stream` runs one. A check that does not apply is overridden with
`pytest.mark.xfail(reason=...)`, never without a reason. Needs pytest.
"""

import pytest

pytest.register_assert_rewrite("aigc_sdk.testing.contract", "aigc_sdk.testing.generator")
pytest.register_assert_rewrite("aigc_sdk.testing.trainer", "aigc_sdk.testing.evaluator")

from .evaluator import EvaluatorContract  # noqa: E402 (after the rewriting is registered)
from .generator import GeneratorContract  # noqa: E402
from .trainer import TrainerContract  # noqa: E402

__all__ = ["EvaluatorContract", "GeneratorContract", "TrainerContract"]

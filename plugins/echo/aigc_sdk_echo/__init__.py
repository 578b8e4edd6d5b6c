"""A complete backend without torch: copy this folder to start your own.

This file is the manifest. `aigc backends` finds it through the entry point in pyproject.toml, and importing it must stay
cheap: the classes are named by strings, and imported when somebody asks for them.
"""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Repeats the prompt, or babbles what it has learnt; without torch",
    artifact="text",
    generator="aigc_sdk_echo.model:Echo",
    trainer="aigc_sdk_echo.train:EchoTrainer",
    evaluator="aigc_sdk_echo.evaluate:Overlap",
)

"""CTranslate2, with the weights that its own converter makes of a transformers folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any


class CTranslate2:
    """One model in one precision; it takes prompts of one length at a time, and all of them end together."""

    def __init__(self, tokenizer: Any, source: Path, folder: Path, dtype: str, threads: int) -> None:
        import ctranslate2

        path = folder / f"ctranslate2-{dtype}"
        if not path.exists():
            converter = ctranslate2.converters.TransformersConverter(str(source))
            converter.convert(str(path), quantization=dtype)
            settings = path / "config.json"  # it wants the names of tokens that this tokenizer does not have
            known = json.loads(settings.read_text())
            for name in ("bos_token", "eos_token", "unk_token"):
                known[name] = known.get(name) or tokenizer.eos_token
            settings.write_text(json.dumps(known))
        self._generator = ctranslate2.Generator(
            str(path), device="cpu", compute_type=dtype, intra_threads=threads, inter_threads=1
        )
        if self._generator.compute_type != dtype and not self._generator.compute_type.startswith(dtype):
            raise RuntimeError(
                f"this processor has no {dtype} in CTranslate2; it would take {self._generator.compute_type}"
            )
        self._tokenizer = tokenizer

    def generate(self, prompts: Sequence[Sequence[int]], wants: Sequence[int]) -> list[list[int]]:
        """Rows that want as many tokens are one call."""
        made: list[list[int]] = []
        for want, rows in groupby(zip(prompts, wants, strict=True), key=lambda row: row[1]):
            given = [self._tokenizer.convert_ids_to_tokens(prompt) for prompt, _ in rows]
            found = self._generator.generate_batch(
                given,
                max_length=want,
                min_length=want,
                sampling_topk=1,
                include_prompt_in_result=False,
                max_batch_size=len(given),
                end_token=[self._tokenizer.eos_token_id],
            )
            made += [list(each.sequences_ids[0]) for each in found]
        return made

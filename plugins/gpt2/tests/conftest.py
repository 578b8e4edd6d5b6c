"""What several test files share: a tokenizer with SentencePiece's spaces and bytes, as Llama 2 and Mistral have one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = 'the quick brown fox jumps over the lazy dog; {"name": "value", "age": 12} true false null '


@pytest.fixture(scope="session")
def pieces() -> Callable[[], PreTrainedTokenizerFast]:
    """Makes a tokenizer whose pieces begin with U+2581 for a space, and that spells what it does not know in bytes."""
    specials = ["<unk>", "<s>", "</s>"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.train_from_iterator(
        [TEXT] * 4,
        trainers.BpeTrainer(vocab_size=360, special_tokens=[*specials, *fallback], show_progress=False),
    )
    spelt = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.decoder = spelt
    plain = Tokenizer.from_str(_without_special_bytes(backend.to_str()))

    def make() -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>")

    return make


def _without_special_bytes(saved: str) -> str:
    """The trainer marks all tokens that it is given as special; the bytes are none."""
    found = json.loads(saved)
    found["added_tokens"] = [each for each in found["added_tokens"] if not each["content"].startswith("<0x")]
    return json.dumps(found)

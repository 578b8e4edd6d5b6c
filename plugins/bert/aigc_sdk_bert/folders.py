"""Opening encoders, whole or for a new head, and making new ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_sdk import runtime
from aigc_sdk.errors import MismatchedFolder, NotAModel, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import load_tokenizer, load_transformers, quiet

from .data import Kind
from .heads import head_named
from .tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from .options import Start

DEFAULT = Path(__file__).parent / "default"
JUDGE = Path(__file__).parent / "judge"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET = 1000  # characters that a learnt tokenizer knows at most; the rest are unknown tokens
TEMPERATURE = "calibration_temperature"  # in config.json
_OTHERS = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
_OWN = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))


def tokenizer_of(opened: Folder) -> PreTrainedTokenizerFast:
    """The folder's tokenizer, with the special tokens that BERT's and RoBERTa's classes add unasked.

    Raises NotAModel for one without a mask.
    """
    tokenizer = load_tokenizer(opened)
    known = tokenizer.get_vocab()
    for names in (_OWN, _OTHERS):
        for key, token in names.items():
            if getattr(tokenizer, key) is None and token in known:
                setattr(tokenizer, key, token)
    if tokenizer.mask_token_id is None:
        message = (
            f"{printable(str(opened.path))}: its tokenizer has no mask token, so that it is of no masked language model"
        )
        raise NotAModel(message)
    return tokenizer


def load_head(opened: Folder, task: Task, seed: int) -> PreTrainedModel:
    """An encoder with a head for `task`; what the folder does not hold of the head is drawn from `seed`."""
    prefix = _prefix(opened)

    def free(name: str) -> bool:
        return not name.startswith(prefix) or ".pooler." in name or name.endswith("position_ids")

    with runtime.LentState(seed):
        return load_transformers(opened, task.model_class, free=free, **task.configuration())


def load_whole(opened: Folder) -> PreTrainedModel:
    """The network in a folder as what it is: with the head that its `architectures` name, or as an encoder without one."""
    import transformers

    name = _architecture(opened)
    head = "masked" if name.endswith("ForPreTraining") else head_named(name)
    kinds: dict[str | None, Kind] = {
        "sequence": "classification",
        "tokens": "tokens",
        "questions": "questions",
        "masked": "masked",
    }
    model_class = Task(kinds[head]).model_class if head in kinds else transformers.AutoModel
    return load_transformers(opened, model_class, free=_beside_the_head)


def _beside_the_head(name: str) -> bool:
    """Weights of BERT's own pre-training, which its masked language models come with and nothing here reads."""
    return "seq_relationship" in name or ".pooler." in name or name.endswith("position_ids")


def _architecture(opened: Folder) -> str:
    names = opened.config().get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def task_in(opened: Folder) -> Task | None:
    """The task of the head in a folder, by its configuration alone; None for an encoder with no head that is known here."""
    config = opened.config()
    head = head_named(_architecture(opened))
    labels = config.get("id2label")
    if head is None or (head in ("sequence", "tokens") and not isinstance(labels, dict)):
        return None
    known = [str(labels[key]) for key in sorted(labels, key=int)] if isinstance(labels, dict) else []
    return Task.of_head(head, known, config.get("problem_type"))


def temperature_of(config: Mapping[str, Any]) -> float:
    """What logits are divided by, so that probabilities mean what they say; 1 where none was fitted."""
    found = config.get(TEMPERATURE)
    return float(found) if isinstance(found, int | float) and 0 < found < math.inf else 1.0


def _prefix(opened: Folder) -> str:
    """What the names of the encoder's own weights begin with, in a network with a head."""
    import transformers

    kind = opened.config().get("model_type")
    try:
        body: Any = transformers.MODEL_MAPPING[transformers.CONFIG_MAPPING[str(kind)]]
    except KeyError as error:
        message = (
            f"{printable(str(opened.path))} is a {printable(str(kind))!r} model, which is no encoder that is known here"
        )
        raise MismatchedFolder(message) from error
    return f"{body.base_model_prefix}."


def learn_tokenizer(texts: Sequence[str], vocab_size: int, context: int, lowercase: bool) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer learnt from `texts` (Schuster and Nakajima 2012), in BERT's layout: [CLS] text [SEP] pair [SEP].

    The same texts give the same tokenizer. The library numbers pieces by chance, and breaks ties by these numbers; so it
    is told the single characters in an order of their own first.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    learning = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learning.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    learning.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts = Counter("".join(learning.normalizer.normalize_str(text) for text in texts))
    room = min(ALPHABET, (vocab_size - len(SPECIAL)) // 2)
    characters = sorted(
        char for char, _ in sorted(counts.items(), key=lambda x: (-x[1], x[0]))[:room] if not char.isspace()
    )
    pieces = [*SPECIAL, *characters, *(f"##{char}" for char in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=pieces,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    learning.train_from_iterator(texts, trainer)
    return _wrapped(_word_pieces(learning.get_vocab(), lowercase), context)


def _word_pieces(vocabulary: Mapping[str, int], lowercase: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(dict(vocabulary), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    separator, first = SPECIAL.index("[SEP]"), SPECIAL.index("[CLS]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", separator), ("[CLS]", first))
    return tokenizer


def saved_tokenizer(saved: str, context: int) -> PreTrainedTokenizerFast:
    """A tokenizer as `learn_tokenizer` makes them, from its JSON."""
    from tokenizers import Tokenizer

    return _wrapped(Tokenizer.from_str(saved), context)


def _wrapped(tokenizer: Any, context: int) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, model_max_length=context, clean_up_tokenization_spaces=False, **_OWN
    )


def new_network(start: Start, task: Task) -> PreTrainedModel:
    """A BERT of the given sizes, with first weights drawn from `start.seed`."""
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=start.vocab_size,
        max_position_embeddings=start.context,
        hidden_size=start.width,
        num_hidden_layers=start.layers,
        num_attention_heads=start.heads,
        intermediate_size=4 * start.width,
        hidden_dropout_prob=start.dropout,
        attention_probs_dropout_prob=start.dropout,
        initializer_range=0.02
        * (768 / start.width) ** 0.5,  # BERT-base's own, at its width; small ones learn badly with it
        pad_token_id=SPECIAL.index("[PAD]"),
        **task.configuration(),
    )
    with runtime.LentState(start.seed):
        return task.model_class.from_config(config, attn_implementation="sdpa")  # type: ignore[no-any-return]


def rebuilt(network: PreTrainedModel, task: Task, seed: int) -> PreTrainedModel:
    """The same encoder with a new head for `task`, drawn from `seed`."""
    config: Any = type(network.config).from_dict({**network.config.to_dict(), **task.configuration()})
    with runtime.LentState(seed), quiet():
        # The configuration has the dtype of the folder's file, which the weights may have left since.
        found: Any = task.model_class.from_config(config, attn_implementation="sdpa", dtype=network.dtype)
    body = dict(network.base_model.state_dict())
    missing = found.base_model.load_state_dict(body, strict=False)
    assert not [name for name in missing.missing_keys if "pooler" not in name], missing
    return found.to(network.device).eval()  # type: ignore[no-any-return]

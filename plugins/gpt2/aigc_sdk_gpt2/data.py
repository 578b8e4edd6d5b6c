"""From what a user has (files, JSON lines, strings, pairs, conversations) to full blocks of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from aigc_sdk.calls import check_text
from aigc_sdk.errors import DataError, printable
from aigc_sdk.weights import token_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

T = TypeVar("T")
END_OF_TEXT = "<|endoftext|>"
IGNORED = -100  # a target that no loss is taken of; torch's cross-entropy skips this index
JSON_LINES = (".jsonl", ".ndjson")
LAYOUTS = (
    'a string, {"text"}, {"prompt", "completion"}, {"instruction", "output"}, optionally with "input", or {"messages"}'
)


@dataclass(frozen=True)
class Piece:
    """A stretch of a document; only `learned` ones are targets, and an end-of-text token follows each of those."""

    text: str
    learned: bool = True


Document = tuple[Piece, ...]


def documents(data: Any, name: str = "data") -> Iterator[Document]:
    """The documents in `data`.

    data: the path of a text file (one document) or of a .jsonl file (one document a line); or an iterable, such as a
        list or a `datasets.Dataset`, of strings, dicts and `Path`s. A dict is {"text"}; or {"prompt", "completion"},
        {"instruction", "input", "output"} or {"messages": [{"role", "content"}, ...]}, of which only the answers are
        learned. A string alone is a path; inside an iterable it is a text.

    Raises DataError, which names the file and line or the index, for what is missing, empty, binary or malformed.
    """
    if isinstance(data, str | Path):
        yield from _file(data, name)
        return
    if isinstance(data, bytes | Mapping) or not isinstance(data, Iterable):
        kind = type(data).__name__
        message = f"{name} is a {kind}; pass the path of a file, or an iterable of texts such as a list or a Dataset"
        raise DataError(message + (" (of a DatasetDict, one split)" if isinstance(data, Mapping) else ""), field=name)
    for index, item in enumerate(data):
        if isinstance(item, Path):
            yield from _file(item, name)
        else:
            yield _document(item, f"{name}[{index}]", name)


def _file(place: str | Path, name: str) -> Iterator[Document]:
    text = _text_of(place, name)
    if Path(place).suffix.lower() not in JSON_LINES:
        yield (Piece(text),)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{printable(str(place))}, line {number}"
            try:
                item = json.loads(line)
            except (ValueError, RecursionError) as error:
                message = f"{where}: not JSON ({error}); each line of a .jsonl file holds one JSON value"
                raise DataError(message, field=name) from error
            yield _document(item, where, name)


def _text_of(place: str | Path, name: str) -> str:
    shown = printable(str(place))
    try:
        content = Path(place).read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{name}: there is no file {shown!r}; to train on a text itself, pass [text]", field=name
        ) from error
    except IsADirectoryError as error:
        message = f"{name}: {shown!r} is a folder; pass its files: sorted(Path(folder).glob('*.txt'))"
        raise DataError(message, field=name) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the path
        raise DataError(f"{name}: the file {shown!r} cannot be read: {error}", field=name) from error
    if not content.strip():
        raise DataError(f"{name}: the file {shown!r} is empty", field=name)
    zero = content.find(b"\0")
    if zero >= 0:
        raise DataError(f"{name}: {shown!r} is no text: it holds a zero byte at offset {zero:,}", field=name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{name}: {shown!r} is not UTF-8 text: a wrong byte at offset {error.start:,}; convert it first"
        raise DataError(message, field=name) from error


def _document(item: Any, where: str, name: str) -> Document:
    pieces = _pieces(item)
    if pieces is None:
        keys = f"a dict of {sorted(map(str, item))}" if isinstance(item, Mapping) else f"a {type(item).__name__}"
        raise DataError(f"{where} is {printable(keys)}; give {LAYOUTS}", field=name)
    for piece in pieces:
        if not isinstance(piece.text, str):
            raise DataError(f"{where} holds a {type(piece.text).__name__} where text belongs", field=name)
        check_text(piece.text, where, name)
    if not any(piece.learned and piece.text for piece in pieces):
        raise DataError(f"{where} has no text to learn from; leave it out", field=name)
    return pieces


def _pieces(item: Any) -> Document | None:
    """The pieces of one item, or None when it has no known layout."""
    if isinstance(item, str):
        return (Piece(item),)
    if not isinstance(item, Mapping):
        return None
    if "prompt" in item and "completion" in item:
        return (Piece(item["prompt"], learned=False), Piece(item["completion"]))
    if "instruction" in item and "output" in item:
        task, context = item["instruction"], item.get("input") or ""
        odd = [each for each in (task, context) if not isinstance(each, str)]
        return (Piece(odd[0] if odd else instruction(task, context), learned=False), Piece(item["output"]))
    if "messages" in item:
        return _conversation(item["messages"])
    return (Piece(item["text"]),) if "text" in item else None


def instruction(task: str, context: str = "") -> str:
    """The prompt that {"instruction", "input"} pairs are trained with, in Alpaca's layout; ask the model with it too."""
    asked = f"### Instruction:\n{task}\n\n"
    if context:
        asked += f"### Input:\n{context}\n\n"
    return asked + "### Response:\n"


def _conversation(messages: Any) -> Document | None:
    """Alternating pieces; an assistant's turn is learned, all others are its prompt."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    pieces = []
    for message in messages:
        if not (isinstance(message, Mapping) and {"role", "content"} <= set(message)):
            return None
        role = str(message["role"]).capitalize()
        pieces.append(Piece(f"### {role}:\n", learned=False))
        if role == "Assistant":
            pieces.append(Piece(message["content"]))
        elif isinstance(message["content"], str):
            pieces.append(Piece(f"{message['content']}\n\n", learned=False))
        else:
            return None
    return tuple(pieces)


@dataclass(frozen=True)
class Tokens:
    """Documents as one stream of tokens."""

    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]
    """Which of them are targets."""
    ends: NDArray[np.int64]
    """Where each document stops."""
    size: int
    """Bytes of UTF-8 of the learned text."""


def encode(found: Iterable[Document], tokenizer: PreTrainedTokenizerFast, name: str = "data") -> Tokens:
    """Tokenise documents; every learned piece is followed by an end-of-text token, which is learned as well."""
    end = tokenizer.eos_token_id
    if end is None:
        raise DataError("the model's tokenizer has no end-of-text token (eos_token), which joins documents", field=name)
    ids: list[NDArray[np.int32]] = []
    learned: list[NDArray[np.bool_]] = []
    lengths: list[int] = []
    size = 0
    for some in _batched(found, 1000):  # the tokenizer works on a batch in parallel
        pieces = [piece for document in some for piece in document]
        encoded = iter(token_ids(tokenizer, [piece.text for piece in pieces]))
        for document in some:
            rows = [next(encoded) + [end] * piece.learned for piece in document]
            lengths.append(sum(map(len, rows)))
            ids += [np.array(row, np.int32) for row in rows]
            learned += [np.full(len(row), piece.learned) for row, piece in zip(rows, document, strict=True)]
        size += sum(len(piece.text.encode()) for piece in pieces if piece.learned)
    if not ids:
        raise DataError(f"{name} holds no text; pass at least one document", field=name)
    return Tokens(np.concatenate(ids), np.concatenate(learned), np.cumsum(lengths), size)


class Blocks:
    """Rows of `block` tokens each, cut from a stream, with the token after each as its target.

    Running text is cut without regard to documents, so that no row holds padding. Where only answers are learned, a
    pair stays whole if it fits into a row: the pairs that no longer fit start the next row, and what a row shows of
    them is no target there. A stream shorter than a block makes one shorter row.
    """

    def __init__(self, tokens: Tokens, block: int) -> None:
        self.tokens = tokens
        count = len(tokens.ids)
        self.running = bool(tokens.learned.all())
        if self.running:
            self.block = min(block, count)
            self._starts = np.arange(0, count, self.block)
            self._ends = self._starts + self.block + 1
        else:
            rows = np.array(list(_rows(tokens.ends, block)))
            self.block = min(block, int((rows[:, 1] - rows[:, 0]).max()) - 1)
            sums = np.concatenate([[0], np.cumsum(tokens.learned)])
            taught = sums[rows[:, 1]] > sums[rows[:, 0] + 1]
            self._starts, self._ends = rows[taught].T
        # The stream is read as a circle: the token before the first one is the last end-of-text.
        around = count + self.block + 1
        answers = np.where(tokens.learned, tokens.ids, IGNORED).astype(np.int32)
        self._ids = torch.from_numpy(np.resize(tokens.ids, around))
        self._answers = torch.from_numpy(np.resize(answers, around))

    def __len__(self) -> int:
        return len(self._starts)

    def starts(self, rows: NDArray[np.int64], first: int = 0, seed: int = 0) -> NDArray[np.int64]:
        """Where the rows begin that are drawn as the `first`, `first + 1`, ... of a training run.

        Running text is cut at other places in each epoch: the cuts of an epoch are shifted by a number that is a
        function of `seed` and the epoch, and 0 in the first.
        """
        if not self.running:
            return self._starts[rows]
        epochs = (first + np.arange(len(rows))) // len(self)
        shifts = {epoch: self._shift(seed, epoch) for epoch in set(epochs.tolist())}
        shifted = self._starts[rows] + np.array([shifts[epoch] for epoch in epochs.tolist()], np.int64)
        return shifted % len(self.tokens.ids)

    def _shift(self, seed: int, epoch: int) -> int:
        return int(np.random.default_rng([seed, epoch]).integers(self.block)) if epoch else 0

    def at(self, starts: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of the rows that begin at `starts`: int64, rows x block."""
        places = torch.from_numpy(starts)[:, None] + torch.arange(self.block)
        targets = self._answers[places + 1].long()
        if not self.running:
            ends = torch.from_numpy(self._ends[np.searchsorted(self._starts, starts)])
            targets[places + 1 >= ends[:, None]] = IGNORED
        return self._ids[places].long(), targets

    def targets(self, starts: NDArray[np.int64]) -> int:
        """How many targets the rows that begin at `starts` have."""
        return int((self.at(starts)[1] != IGNORED).sum())

    def once(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Every target exactly once, in order, in batches."""
        total = len(self.tokens.ids)
        for some in _batched(range(len(self)), batch_size):
            starts = self._starts[some]
            inputs, targets = self.at(starts)
            if self.running:  # the last row goes round the circle into the first
                targets[torch.from_numpy(starts)[:, None] + torch.arange(self.block) >= total] = IGNORED
            yield inputs, targets


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _rows(ends: NDArray[np.int64], block: int) -> Iterator[tuple[int, int]]:
    """(start, end) of rows of at most `block` + 1 tokens that split no document which fits into one."""
    start = stop = 0
    for begin, end in pairwise([0, *ends.tolist()]):
        if end - start > block + 1 and stop > start:
            yield start, stop
            start = begin
        while end - start > block + 1:
            yield start, start + block + 1
            start += block
        stop = end
    yield start, stop


def train_tokenizer(texts: Iterable[str], vocab_size: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from `texts`: any text can be encoded, and decoding gives it back exactly.

    It has at most `vocab_size` tokens: 256 bytes, `<|endoftext|>`, and merges (Sennrich et al. 2016, Radford et al. 2019).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return wrapped(tokenizer, context)


def wrapped(tokenizer: Any, context: int) -> PreTrainedTokenizerFast:
    """A tokenizer as `train_tokenizer` makes them, in the form that transformers models come with."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )

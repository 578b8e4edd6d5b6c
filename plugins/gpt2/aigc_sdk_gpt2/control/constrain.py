"""Text that matches a regular expression or is valid for a JSON schema, by llguidance.

After each token llguidance says which tokens may follow. That alone makes text that is right as far as it goes; so that it
also ends in time, an ending is known for each row at every moment, and a token after which none would fit any more is
exchanged for the first of the ending.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch

from aigc_sdk.errors import MissingDependency, OptionError, shown
from aigc_sdk_gpt2.vocabulary import vocabulary

from .endings import Endings
from .rules import NO_CHANCE, Rule

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from aigc_sdk_gpt2.options import Decoding

State = Literal["open", "whole", "closed"]
"""Of a text: it does not match yet; it matches; it matches, and every longer one does not."""
JSON: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as Python's json writes it


def constraint_for(options: Decoding, ends: frozenset[int], tokenizer: PreTrainedTokenizerFast) -> Constraint | None:
    """The rule that `regex` or `json_schema` asks for. Raises OptionError with the library's reason, or MissingDependency."""
    if options.regex is None and options.json_schema is None:
        return None
    field = "json_schema" if options.regex is None else "regex"
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        message = f"option {field} needs llguidance; pip install 'aigc-sdk-gpt2[constrain]'"
        raise MissingDependency(message) from error
    tokens = tokens_of(tokenizer, ends, field)
    if options.regex is not None:
        grammar = LLMatcher.grammar_from_regex(options.regex)
    else:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(options.json_schema), overrides=JSON)
    matcher = LLMatcher(tokens.known, grammar, log_level=0)
    if matcher.is_error():
        value = shown(options.regex if field == "regex" else options.json_schema)
        raise OptionError(f"gpt2 option {field}={value}: {_reason(matcher.get_error())}", field=field)
    return Constraint(matcher, tokens, closes=not options.bad_words)


def _reason(message: str) -> str:
    """What llguidance says, without the drawing of the place."""
    lines = [line.strip() for line in message.splitlines()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return said[0] if said else lines[0]


class Tokens:
    """A tokenizer's tokens as llguidance asks for them."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: PreTrainedTokenizerFast, table: dict[int, bytes], ends: frozenset[int]) -> None:
        size = max(table) + 1
        self.ends = sorted(ends)
        self.eos_token_id = self.ends[0] if ends else size  # it has to have one; a model may have none
        self.tokens = [table.get(token, b"") for token in range(max(size, self.eos_token_id + 1))]
        self.special_token_ids = [token for token, spelt in enumerate(self.tokens) if not spelt]
        self.strips = not vocabulary(tokenizer).byte_level
        """Whether a space that begins a text is no part of it."""
        self.spaced = torch.tensor([token for token, spelt in enumerate(self.tokens) if spelt[:1] == b" "])
        self._tokenizer = tokenizer
        self._numbers = {spelt: token for token, spelt in reversed([*enumerate(self.tokens)]) if spelt}
        self._longest = max(map(len, self._numbers))
        self.bytes = [self._numbers.get(bytes([byte])) for byte in range(256)]
        """The token that stands for each byte, where there is one."""
        import llguidance

        self.known: Any = llguidance.LLTokenizer(cast(Any, self))

    def __call__(self, text: str | bytes) -> list[int]:
        """The tokens that make `text`: the tokenizer's own where they are no others in the middle of a text."""
        spelt = text if isinstance(text, bytes) else text.encode()
        if isinstance(text, str):
            found: list[int] = self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
            if b"".join(self.tokens[each] for each in found) == spelt:
                return found
        return self.fewest(spelt)

    def fewest(self, spelt: bytes) -> list[int]:
        """Tokens that make these bytes, each as long as can be; bytes without a token are left out."""
        found, start = [], 0
        while start < len(spelt):
            for size in range(min(self._longest, len(spelt) - start), 0, -1):
                if (token := self._numbers.get(spelt[start : start + size])) is not None:
                    found.append(token)
                    break
            start += size
        return found


def tokens_of(tokenizer: PreTrainedTokenizerFast, ends: frozenset[int], field: str) -> Tokens:
    """Made once for a tokenizer and its ends: a large vocabulary takes a second. Raises OptionError."""
    table = vocabulary(tokenizer).spelt
    if table is None:
        raise OptionError(
            f"gpt2 option {field}: this model's tokens are no fixed strings of bytes, so it cannot be known what they make",
            field=field,
        )
    known = tokenizer.__dict__.get("_aigc_grammar_tokens")
    if known is None or known[0] is not table or known[1] != ends:
        known = tokenizer.__dict__["_aigc_grammar_tokens"] = (table, ends, Tokens(tokenizer, table, ends))
    found: Tokens = known[2]
    return found


class Constraint(Rule):
    """One matcher a row: it knows what may follow, and is copied where a row is forked."""

    def __init__(self, matcher: Any, tokens: Tokens, *, closes: bool) -> None:
        """closes: see to it that texts end in time, by exchanging tokens that leave no room for it."""
        self._start, self._tokens, self._closes = matcher, tokens, closes
        self._matchers: list[Any] = []
        self._firsts: dict[int, Endings] = {}
        self._endings: list[Endings] = []
        self._room: list[int] = []
        self._stripped: list[bool] = []  # the row's text is empty so far, and would lose a space that begins it

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        for prompt, left in zip(prompts, room, strict=True):
            self._matchers.append(self._start.deep_copy())
            self._room.append(left)
            self._endings.append(self._first(left).copy())
            text = any(self._tokens.tokens[token] for token in prompt)
            self._stripped.append(self._tokens.strips and not text)

    def _first(self, room: int) -> Endings:
        """That of a row that begins: searched for once, since it is the same for all with as much room."""
        if room not in self._firsts:
            self._firsts[room] = Endings(self._tokens)
            if self._closes:
                self._firsts[room].start(self._start, room)
        return self._firsts[room]

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        for place, row in enumerate(rows):
            scores[place].masked_fill_(~self._allowed(row, scores.shape[1]).to(scores.device), NO_CHANCE)

    def settle(self, tokens: list[int], rows: Sequence[int]) -> list[int]:
        """The tokens that these rows go on with: those that were chosen, or others where those leave no room for an end."""
        return [
            self._endings[row].settled(self._matchers[row], token, self._room[row] - 1)
            if self._closes and token not in self._tokens.ends
            else token
            for token, row in zip(tokens, rows, strict=True)
        ]

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        for token, row in zip(tokens, rows, strict=True):
            self._room[row] -= 1
            self._stripped[row] &= not self._tokens.tokens[token]
            if token not in self._tokens.ends:
                self._matchers[row].consume_token(token)

    def select(self, rows: Sequence[int]) -> None:
        first = {row: place for place, row in reversed([*enumerate(rows)])}
        forked = [first[row] != place for place, row in enumerate(rows)]
        self._endings = [
            self._endings[row].copy() if again else self._endings[row] for row, again in zip(rows, forked, strict=True)
        ]
        self._matchers = [
            self._matchers[row].deep_copy() if again else self._matchers[row]
            for row, again in zip(rows, forked, strict=True)
        ]
        self._room = [self._room[row] for row in rows]
        self._stripped = [self._stripped[row] for row in rows]

    def state(self, row: int) -> State:
        """How far the row's text is."""
        return _state(self._matchers[row])

    def state_of(self, tokens: Sequence[int]) -> State:
        """How far a text of these tokens would be."""
        matcher = self._start.deep_copy()
        matcher.consume_tokens([token for token in tokens if token not in self._tokens.ends])
        return _state(matcher)

    def _allowed(self, row: int, width: int) -> torch.Tensor:
        """Which tokens may follow: bool, vocabulary."""
        bits = np.frombuffer(self._matchers[row].compute_bitmask(), np.uint8)
        mask = torch.zeros(width, dtype=torch.bool)
        known = torch.from_numpy(np.unpackbits(bits, bitorder="little"))[: min(width, len(self._tokens.tokens))]
        mask[: len(known)] = known.bool()
        if self._tokens.ends:
            mask[self._tokens.ends] = mask[self._tokens.eos_token_id].clone()
        if self._stripped[row]:
            mask[self._tokens.spaced[self._tokens.spaced < width]] = False
        return mask


def _state(matcher: Any) -> State:
    if not matcher.is_accepting():
        return "open"
    return "closed" if matcher.is_stopped() else "whole"

"""What changes a row's scores before a token is chosen: penalties, biases, bans, and the caller's own function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from aigc_sdk.errors import OptionError, shown
from aigc_sdk.weights import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from aigc_sdk_gpt2.options import Decoding, LogitsFunction

NO_CHANCE = -torch.inf


class RowFault(Exception):
    """Nothing can be chosen for `row`; the message says why, in words that follow "sample 3: "."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row


class Rule(ABC):
    """One such change. Rows come, go and are reordered as in the Sampler, and advance one by one."""

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:  # noqa: B027
        """New rows behind those that are there; `room[i]` tokens, at most, will follow."""

    @abstractmethod
    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        """Change the scores of these rows in place: len(rows) x vocabulary, float32. Raises RowFault."""

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:  # noqa: B027
        """These rows, each at most once, go on with these tokens."""

    def select(self, rows: Sequence[int]) -> None:  # noqa: B027
        """Go on with these rows in this order; one that is named twice goes on twice."""


def rules_for(options: Decoding, ends: frozenset[int], tokenizer: PreTrainedTokenizerFast) -> list[Rule]:
    """Those that `options` ask for, in the order in which they act. Raises OptionError and MissingDependency.

    It is the order of Hugging Face's generate. What the text must not hold or must match comes last, so that nothing
    undoes it.
    """
    from .constrain import constraint_for
    from .words import BadWords

    found: list[Rule] = []
    if options.logit_bias:
        found.append(LogitBias(options.logit_bias, tokenizer))
    if options.repetition_penalty != 1:
        found.append(Repetition(options.repetition_penalty))
    if options.presence_penalty or options.frequency_penalty:
        found.append(Presence(options.presence_penalty, options.frequency_penalty))
    if options.no_repeat_ngram:
        found.append(NoRepeat(options.no_repeat_ngram))
    if options.min_new_tokens and ends:
        found.append(MinimumLength(options.min_new_tokens, ends))
    if options.logits is not None:
        found.append(Function(options.logits))
    if options.bad_words:
        found.append(BadWords(options.bad_words, tokenizer))
    if (constraint := constraint_for(options, ends, tokenizer)) is not None:
        found.append(constraint)
    return found


class LogitBias(Rule):
    """The same numbers are added to the scores of the same tokens, always."""

    def __init__(self, pairs: Sequence[tuple[int | str, float]], tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokens = torch.tensor([_token(each, tokenizer) for each, _ in pairs])
        self._biases = torch.tensor([bias for _, bias in pairs])

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        scores.index_add_(1, self._tokens.to(scores.device), self._biases.to(scores.device).expand(len(scores), -1))


def _token(given: int | str, tokenizer: PreTrainedTokenizerFast) -> int:
    """The number of a token that is given by its text, as it stands in a text or in the vocabulary, or by its number."""
    if isinstance(given, int):
        if given < len(tokenizer):
            return given
        raise OptionError(
            f"gpt2 option logit_bias: there is no token {given:,}; this model's are 0 to {len(tokenizer) - 1:,}",
            field="logit_bias",
        )
    if (known := tokenizer.backend_tokenizer.token_to_id(given)) is not None:
        return int(known)
    [found] = token_ids(tokenizer, [given])
    if len(found) == 1:
        return found[0]
    spelt = " ".join(shown(tokenizer.backend_tokenizer.decode([each])) for each in found)
    raise OptionError(
        f"gpt2 option logit_bias: {shown(given)} is {len(found)} tokens of this model ({spelt}); give the tokens one by one, "
        "or, to ban a text, bad_words",
        field="logit_bias",
    )


class Counted(Rule):
    """A rule about how often each row holds each token."""

    prompts = False
    """Whether the prompt's tokens count."""

    def __init__(self) -> None:
        self._counts: list[Counter[int]] = []

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        self._counts += [Counter(prompt if self.prompts else ()) for prompt in prompts]

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        places, tokens, counts = list[int](), list[int](), list[int]()
        for place, row in enumerate(rows):
            places += [place] * len(self._counts[row])
            tokens += self._counts[row].keys()
            counts += self._counts[row].values()
        if not places:
            return
        index = torch.tensor(places, device=scores.device), torch.tensor(tokens, device=scores.device)
        scores[index] = self.changed(scores[index], torch.tensor(counts, device=scores.device))

    @abstractmethod
    def changed(self, scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The new scores of tokens that are there, and how often they are: both one number per row and token."""

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        for token, row in zip(tokens, rows, strict=True):
            self._counts[row][token] += 1

    def select(self, rows: Sequence[int]) -> None:
        self._counts = [self._counts[row].copy() for row in rows]


class Repetition(Counted):
    """Tokens that are there already, in the prompt too, are made less likely (Keskar et al. 2019, CTRL)."""

    prompts = True

    def __init__(self, penalty: float) -> None:
        super().__init__()
        self._penalty = penalty

    def changed(self, scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Towards minus infinity."""
        return torch.where(scores < 0, scores * self._penalty, scores / self._penalty)


class Presence(Counted):
    """The new text's own tokens lose a fixed number once, and another each time, as in OpenAI's interface."""

    def __init__(self, once: float, each_time: float) -> None:
        super().__init__()
        self._once, self._each_time = once, each_time

    def changed(self, scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Lower, in logits."""
        return scores - self._once - self._each_time * counts


class NoRepeat(Rule):
    """No run of `size` tokens comes twice in a row of the batch, its prompt included (Paulus et al. 2017)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tokens: list[list[int]] = []
        self._next: list[dict[tuple[int, ...], list[int]]] = []  # what has followed each run of size - 1 tokens

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        first = len(self._tokens)
        self._tokens += [[] for _ in prompts]
        self._next += [{} for _ in prompts]
        for row, prompt in enumerate(prompts, first):
            for token in prompt:
                self.take([token], [row])

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        for place, row in enumerate(rows):
            banned = self._next[row].get(self._last(row), ())
            scores[place, list(banned)] = NO_CHANCE

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        for token, row in zip(tokens, rows, strict=True):
            if len(self._tokens[row]) >= self._size - 1:
                self._next[row].setdefault(self._last(row), []).append(token)
            self._tokens[row].append(token)

    def select(self, rows: Sequence[int]) -> None:
        self._tokens = [list(self._tokens[row]) for row in rows]
        self._next = [{run: list(tokens) for run, tokens in self._next[row].items()} for row in rows]

    def _last(self, row: int) -> tuple[int, ...]:
        return tuple(self._tokens[row][len(self._tokens[row]) - self._size + 1 :])


class MinimumLength(Rule):
    """No end before so many new tokens."""

    def __init__(self, least: int, ends: frozenset[int]) -> None:
        self._least = least
        self._ends = sorted(ends)
        self._made: list[int] = []

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        self._made += [0] * len(prompts)

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        for place, row in enumerate(rows):
            if self._made[row] < self._least:
                scores[place, self._ends] = NO_CHANCE

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        for row in rows:
            self._made[row] += 1

    def select(self, rows: Sequence[int]) -> None:
        self._made = [self._made[row] for row in rows]


class Function(Rule):
    """The caller's own: row by row, so that it cannot make rows depend on each other."""

    def __init__(self, function: LogitsFunction) -> None:
        self._function = function
        self._prompts: list[list[int]] = []
        self._made: list[list[int]] = []

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int]) -> None:
        self._prompts += [list(each) for each in prompts]
        self._made += [[] for _ in prompts]

    def apply(self, scores: torch.Tensor, rows: Sequence[int]) -> None:
        for place, row in enumerate(rows):
            given = scores[place].clone()
            try:
                found: Any = self._function(given, tuple(self._prompts[row]), tuple(self._made[row]))
            except Exception as error:
                raise self._fault(row, f"raised {type(error).__name__}: {error}") from error
            if not isinstance(found, torch.Tensor):
                raise self._fault(row, f"returned a {type(found).__name__}; return the logits, a tensor")
            if found.shape != given.shape or not found.is_floating_point():
                shape = " x ".join(map(str, found.shape))
                wanted = f"return one float per token of the vocabulary, {len(given):,}"
                raise self._fault(
                    row, f"returned a tensor of {str(found.dtype)[6:]} of shape {shape or '()'}; {wanted}"
                )
            if not bool((found < torch.inf).all()):  # neither NaN nor infinity is below it
                raise self._fault(row, "returned NaN or infinity; only minus infinity has a meaning: never this token")
            scores[place] = found.detach().to(scores)

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        for token, row in zip(tokens, rows, strict=True):
            self._made[row].append(token)

    def select(self, rows: Sequence[int]) -> None:
        self._prompts = [self._prompts[row] for row in rows]
        self._made = [list(self._made[row]) for row in rows]

    def _fault(self, row: int, what: str) -> RowFault:
        return RowFault(row, f"the function in option logits, asked for its token {len(self._made[row]) + 1}, {what}")

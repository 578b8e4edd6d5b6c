"""How a text that follows a grammar can end soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .constrain import Tokens

STEPS = 256  # of one search, each of which adds a byte, or all that the grammar forces
TRIES = 4096  # of one search: bytes that its steps try
ORDER = bytes(dict.fromkeys(b'}]",0123456789' + bytes(each for each in range(256) if each not in b"{[\\") + b"{[\\"))
"""The bytes that tend to bring an end nearer come first: what closes, then figures. What opens something comes last."""


class Endings:
    """An ending of one row's text, kept up to date: the tokens that make the text whole from here. It may not be the shortest.

    A token seldom changes how a text can end: after a letter in a string it ends as before. So what was known is tried
    first, then what is left of it; only then is another searched for.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._spelt: bytes | None = None  # the ending; None: none is known
        self._missed = 0

    def copy(self) -> Endings:
        """The same, for a fork of the row."""
        found = Endings(self._tokens)
        found._spelt, found._missed = self._spelt, self._missed
        return found

    def start(self, matcher: Any, room: int) -> None:
        """Find an ending of at most `room` tokens for what `matcher` has read."""
        self._spelt = self._found(matcher, room, b"")

    def settled(self, matcher: Any, token: int, room: int) -> int:
        """The token to go on with: `token`, or the first of the known ending where none of `room` tokens follows `token`.

        matcher: it has read what comes before. While no ending is known one is searched for ever more seldom.
        """
        if self._spelt is None and self._missed & (self._missed + 1):
            self._missed += 1
            return token
        after = matcher.deep_copy()
        after.consume_token(token)
        found = self._found(after, room, self._spelt or b"")
        if found is None and self._spelt:
            token = self._tokens.fewest(self._spelt)[0]
            self._spelt = self._spelt[len(self._tokens.tokens[token]) :]
            return token
        self._missed += found is None
        self._spelt = found
        return token

    def _found(self, matcher: Any, room: int, known: bytes) -> bytes | None:
        for start in range(len(known) + 1):
            if self._fits(matcher, known[start:], room):
                return known[start:]
        spelt = _searched(matcher, self._tokens)
        return spelt if spelt is not None and self._fits(matcher, spelt, room) else None

    def _fits(self, matcher: Any, spelt: bytes, room: int) -> bool:
        if not spelt:
            return bool(matcher.is_accepting())
        tokens = self._tokens.fewest(spelt)
        ended = [*tokens, self._tokens.eos_token_id]
        return len(tokens) <= room and bool(matcher.validate_tokens(ended) == len(ended))


def _searched(matcher: Any, tokens: Tokens) -> bytes | None:
    """Bytes that make the text whole; the second way finds what the first does not, such as the ends of lists in lists."""
    for place in (_by_what_could_follow, _by_depth):
        if (found := _walked(matcher, tokens, place)) is not None:
            return found
    return None


Place = tuple[
    bytes, bytes | int
]  # it stands for where we are: what leads round in circles comes to the same place again


def _by_what_could_follow(mask: bytes, before: bytes, spelt: bytes) -> Place:
    return mask, before


def _by_depth(mask: bytes, before: bytes, spelt: bytes) -> Place:
    return mask, spelt.count(b"[") + spelt.count(b"{") - spelt.count(b"]") - spelt.count(b"}")


def _walked(matcher: Any, tokens: Tokens, place: Callable[[bytes, bytes, bytes], Place]) -> bytes | None:
    """Step by step: a byte that makes the text whole, or else one that leads to where we were least."""
    here, spelt, before = matcher.deep_copy(), b"", b""
    seen, tries = Counter[Place](), iter(range(TRIES))
    for _ in range(STEPS):
        if here.is_accepting():
            return spelt
        mask: bytes = here.compute_bitmask()
        here_is = place(mask, before, spelt)
        seen[here_is] += 1
        added: bytes = here.compute_ff_bytes()
        if added:
            here.consume_tokens(tokens.fewest(added))
            spelt, before = spelt + added, mask
            continue
        best, least = None, 1 << 30
        for byte, _ in zip(_allowed(mask, tokens), tries, strict=False):
            after = here.deep_copy()
            if not after.consume_token(tokens.bytes[byte]):
                continue
            there = spelt + bytes([byte])
            count = -1 if after.is_accepting() else seen[place(after.compute_bitmask(), mask, there)]
            if count < least:
                best, least = (after, there), count
            if count < seen[here_is]:
                break
        if best is None:
            return None
        (here, spelt), before = best, mask
    return None


def _allowed(mask: bytes, tokens: Tokens) -> Iterator[int]:
    """The bytes that may follow and are tokens, best first."""
    for byte in ORDER:
        token = tokens.bytes[byte]
        if token is not None and mask[token >> 3] >> (token & 7) & 1:
            yield byte

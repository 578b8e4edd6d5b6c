"""Letter to sound: how a word is said that is in no lexicon.

A small recurrent network reads the letters in both directions, and then gives each letter its chunk of phonemes in turn,
knowing the chunks before (Yao & Zweig 2015 on the alignment in alignment.py). `python -m aigc_sdk_tts.letters --to FILE`
trains it from the lexicon.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .alignment import Chunk

FILE = Path(__file__).parent / "data" / "letters.safetensors"
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_BEAM = 4
_SCALE = ".scale"


class LetterToSound(nn.Module):
    """Letters to chunks of phonemes; `chunks` are those that it can say."""

    def __init__(self, chunks: Sequence[Chunk], *, embedding: int = 32, encoder: int = 144, decoder: int = 128) -> None:
        super().__init__()
        self.chunks = [tuple(each) for each in chunks]
        self.sizes = {"embedding": embedding, "encoder": encoder, "decoder": decoder}
        start = len(self.chunks)  # what stands before the first letter's chunk
        self.letters = nn.Embedding(len(ALPHABET), embedding)
        self.encoder = nn.GRU(embedding, encoder, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2)
        self.said = nn.Embedding(start + 1, embedding)
        self.decoder = nn.GRU(2 * encoder + embedding, decoder, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(decoder, start)

    def forward(self, letters: Tensor, chunks: Tensor) -> Tensor:
        """Scores (n, letters, chunks) for words of one length, given the chunks that are right."""
        start = torch.full_like(chunks[:, :1], len(self.chunks))
        before = self.said(torch.cat([start, chunks[:, :-1]], 1))
        states, _ = self.decoder(torch.cat([self.encode(letters), before], -1))  # (n, letters, decoder)
        scores: Tensor = self.head(self.dropout(states))
        return scores

    def encode(self, letters: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(self.letters(letters))[0]
        dropped: Tensor = self.dropout(encoded)
        return dropped

    def step(self, encoded: Tensor, last: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-probabilities (n, chunks) at one letter, encoded (n, 2 encoder), and the decoder's new state (1, n, decoder)."""
        states, state = self.decoder(torch.cat([encoded, self.said(last)], -1)[:, None], state)
        return self.head(states[:, 0]).log_softmax(-1), state

    @torch.no_grad()
    def pronounce(self, word: str, beam: int = _BEAM) -> Chunk:
        """The phonemes of a word of the letters a to z: the best that a beam search finds."""
        encoded = self.encode(torch.tensor([[ALPHABET.index(each) for each in word]]))[0]  # (letters, 2 encoder)
        paths, totals, state = [[]], torch.zeros(1), None  # type: ignore[var-annotated]
        last = torch.tensor([len(self.chunks)])
        for each in encoded:
            scores, state = self.step(each.expand(len(paths), -1), last, state)
            totals, best = (totals[:, None] + scores).flatten().topk(min(beam, scores.numel()))
            origin, last = best // scores.shape[1], best % scores.shape[1]
            paths = [[*paths[source], chunk] for source, chunk in zip(origin.tolist(), last.tolist(), strict=True)]
            state = state[:, origin]
        return tuple(phoneme for chunk in paths[0] for phoneme in self.chunks[chunk])


def pronounce(word: str) -> Chunk:
    """The phonemes of a word that the lexicon lacks, by the model that comes with the package."""
    return _default().pronounce(word)


def load(file: Path = FILE) -> LetterToSound:
    """A model from its file: the sizes and chunks are in the file's metadata, the weights as `quantised` gives them."""
    with safe_open(file, "pt") as opened:
        facts = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    model = LetterToSound(json.loads(facts["chunks"]), **json.loads(facts["sizes"]))
    scales = {name: tensors.pop(name + _SCALE, torch.ones(1)).float() for name in model.state_dict()}
    model.load_state_dict({name: tensor.float() * scales[name] for name, tensor in tensors.items()})
    return model.eval()


def save(model: LetterToSound, to: Path) -> None:
    """Write the model so that `load` opens it."""
    facts = {"chunks": json.dumps(model.chunks), "sizes": json.dumps(model.sizes)}
    save_file(quantised(model.state_dict()), to, facts)
    to.chmod(0o644)  # safetensors leaves it to its owner alone


def quantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as whole numbers of 8 bits with one scale a row, and the rest in float16: a quarter of the size."""
    small: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.dim() == 2:
            scale = tensor.abs().amax(1, keepdim=True).clamp_min(1e-8) / 127
            small[name] = (tensor / scale).round().to(torch.int8)
            small[name + _SCALE] = scale  # (rows, 1)
        else:
            small[name] = tensor.half()
    return small


@functools.cache
def _default() -> LetterToSound:
    return load()


if __name__ == "__main__":
    from .letters_training import main

    main()

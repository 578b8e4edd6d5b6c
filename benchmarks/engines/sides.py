"""Who takes part: this package and its peers, each in each precision that it has."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from aigc_sdk_gpt2.model import GPT2

from .hugging import Transformers
from .ours import Ours

Side = Callable[[Sequence[str], Sequence[int]], list[str]]
"""Prompts, and how many tokens are wanted after each -> texts."""
PEERS = {"transformers": "transformers", "ctranslate2": "ctranslate2", "llama.cpp": "llama_cpp", "openvino": "openvino"}
"""Each peer, and the module that it needs."""


class Field:
    """The sides over one set of weights. A side is made when it is first asked for, and kept."""

    def __init__(self, model: GPT2, folder: Path, device: str, threads: int, rows: int, places: int) -> None:
        """rows, places: sequences at a time, and tokens of each, at most."""
        self.model, self.folder, self.device, self.threads = model, folder, device, threads
        self.rows, self.places = rows, places
        self._made: dict[str, Side | None] = {}
        model.save(folder / "model")

    def sides(self, peers: Sequence[str], dtypes: Sequence[str]) -> dict[str, Side]:
        """Those that are installed, by names such as "llama.cpp int8"; ours come last."""
        names = [f"{peer} {dtype}" for peer in peers for dtype in dtypes if self._takes(peer, dtype)]
        names += [f"{ours} {dtype}" for ours in ("ours without kernels", "ours") for dtype in dtypes]
        for name in names:
            if name not in self._made:
                self._made[name] = self._side(name)
        return {name: side for name in names if (side := self._made[name]) is not None}

    def _takes(self, peer: str, dtype: str) -> bool:
        if self.device != "cpu" and peer != "transformers":
            return False
        return importlib.util.find_spec(PEERS[peer]) is not None and (peer, dtype) != ("transformers", "int8")

    def _side(self, name: str) -> Side | None:
        """None, and a word on stderr, where this machine cannot."""
        who, dtype = name.rsplit(" ", 1)
        try:
            return self._ours(who, dtype) if who.startswith("ours") else self._peer(who, dtype)
        except (ValueError, RuntimeError) as error:
            print(f"left out, {name}: {error}", file=sys.stderr)
            return None

    def _ours(self, who: str, dtype: str) -> Side:
        return Ours(self.folder / "model", dtype, self.device, kernels=who == "ours").generate

    def _peer(self, who: str, dtype: str) -> Side:
        peer: Any
        if who == "transformers":
            peer = Transformers(GPT2.open(self.folder / "model", device=self.device, dtype=dtype).network)  # type: ignore[arg-type]
        elif who == "ctranslate2":
            from .ctranslate import CTranslate2

            peer = CTranslate2(self.model.tokenizer, self.folder / "model", self.folder, dtype, self.threads)
        elif who == "llama.cpp":
            from .llama import Llama

            peer = Llama(self.model.network, self.folder, dtype, self.threads, self.rows, self.places)
        else:
            from .vino import OpenVINO

            peer = OpenVINO(self.model.network, dtype, self.threads)
        return self._of_tokens(peer)

    def _of_tokens(self, peer: Any) -> Side:
        """A side that takes and gives tokens, between texts; that takes a millisecond or two."""
        tokenizer = self.model.tokenizer

        def side(prompts: Sequence[str], wants: Sequence[int]) -> list[str]:
            given = [each.ids for each in tokenizer.backend_tokenizer.encode_batch(list(prompts))]
            return tokenizer.backend_tokenizer.decode_batch(peer.generate(given, wants))

        return side


def threads(count: int) -> None:
    """As many for torch."""
    torch.set_num_threads(count)


def installed() -> Iterator[tuple[str, str]]:
    """The peers that are there, and their versions."""
    from importlib.metadata import PackageNotFoundError, version

    names = {"llama.cpp": "llama-cpp-python"}
    for peer in PEERS:
        try:
            yield peer, version(names.get(peer, peer))
        except PackageNotFoundError:
            continue

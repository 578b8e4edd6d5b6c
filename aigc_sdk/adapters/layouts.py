"""Where the linear layers of an architecture are: their names inside a block, by what they do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Names within one block; a layer that makes queries, keys and values at once is in all three."""

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    values: tuple[str, ...]
    mix: str
    """Maps what attention gives back to the width."""
    widen: tuple[str, ...]
    narrow: str
    """The feed-forward layer's last, whose result goes back into the stream."""

    def targets(self, role: str) -> tuple[str, ...]:
        """The layers that a method adapts where nobody says which."""
        found = {
            "usual": (*self.queries, *self.values),
            "all": (*self.queries, *self.keys, *self.values, self.mix, *self.widen, self.narrow),
            "rescaled": (*self.keys, *self.values, self.narrow),
            "outputs": (self.mix, self.narrow),
        }[role]
        return tuple(dict.fromkeys(found))


def _fused(one: str, mix: str, widen: str, narrow: str) -> Layout:
    return Layout((one,), (one,), (one,), mix, (widen,), narrow)


def _apart(stem: str, mix: str, widen: tuple[str, ...], narrow: str) -> Layout:
    """`stem` has a gap for q, k and v."""
    queries, keys, values = (stem.format(each) for each in "qkv")
    return Layout((queries,), (keys,), (values,), mix, widen, narrow)


_BERT = Layout(
    ("attention.self.query",),
    ("attention.self.key",),
    ("attention.self.value",),
    "attention.output.dense",
    ("intermediate.dense",),
    "output.dense",
)
_ALBERT = Layout(
    ("attention.query",), ("attention.key",), ("attention.value",), "attention.dense", ("ffn",), "ffn_output"
)
_LLAMA = _apart("self_attn.{}_proj", "self_attn.o_proj", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")

LAYOUTS: dict[str, Layout] = {
    "gpt2": _fused("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "gpt_neo": _apart("attn.attention.{}_proj", "attn.attention.out_proj", ("mlp.c_fc",), "mlp.c_proj"),
    "gpt_neox": _fused("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "phi": _apart("self_attn.{}_proj", "self_attn.dense", ("mlp.fc1",), "mlp.fc2"),
    "phi3": _fused("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "olmo"), _LLAMA),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "albert": _ALBERT,
    "distilbert": _apart("attention.{}_lin", "attention.out_lin", ("ffn.lin1",), "ffn.lin2"),
    "modernbert": _fused("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
}


def in_block(name: str) -> str:
    """The part of a module's name after its block's number: "transformer.h.3.attn.c_attn" -> "attn.c_attn"."""
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :]) if numbers else ""

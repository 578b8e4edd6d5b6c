"""OpenVINO: GPT-2 written in torch, converted by OpenVINO, with keys and values as the state of the compiled model.

int8 is what its own compression of weights makes of a matrix: whole numbers, and one scale for every output; activations are
then quantised as it runs, which is the processor plugin's default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Linear(nn.Module):
    """A matrix product, with weights in float32 or as int8 and scales."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: str) -> None:
        """weight: outputs x inputs."""
        super().__init__()
        self.whole = dtype == "int8"
        if self.whole:
            scale = weight.abs().amax(1, keepdim=True) / 127
            self.register_buffer("scale", scale)
            self.register_buffer("weight", (weight / scale).round().to(torch.int8))
        else:
            self.register_buffer("weight", weight.contiguous())
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight: Any = self.weight
        return F.linear(x, weight.to(torch.float32) * self.scale if self.whole else weight, self.bias)  # type: ignore[operator]


class Step(nn.Module):
    """Some tokens of every row through the network: batch x time, and what each layer has kept: batch x heads x places x width."""

    def __init__(self, network: Any, dtype: str) -> None:
        super().__init__()
        body = network.transformer
        self.heads, self.body = network.config.n_head, body
        self.products = nn.ModuleList(
            Linear(module.weight.detach().T, module.bias.detach(), dtype)
            for layer in body.h
            for module in (layer.attn.c_attn, layer.attn.c_proj, layer.mlp.c_fc, layer.mlp.c_proj)
        )
        self.head = Linear(network.lm_head.weight.detach(), None, dtype)

    def forward(self, tokens: torch.Tensor, rows: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        batch, time = tokens.shape
        before = past[0].shape[2]
        places = torch.arange(before, before + time)
        seen = torch.arange(before + time)[None, :] <= places[:, None]
        x, kept = self.body.wte(tokens) + self.body.wpe(places), []
        for number, layer in enumerate(self.body.h):
            qkv, mix, widen, narrow = self.products[4 * number : 4 * number + 4]
            made = qkv(layer.ln_1(x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            keys = torch.cat([past[2 * number].index_select(0, rows), made[1]], 2)
            values = torch.cat([past[2 * number + 1].index_select(0, rows), made[2]], 2)
            kept += [keys, values]
            mixed = F.scaled_dot_product_attention(made[0], keys, values, seen)
            x = x + mix(mixed.transpose(1, 2).reshape(batch, time, -1))
            x = x + narrow(F.gelu(widen(layer.ln_2(x)), approximate="tanh"))
        return (self.head(self.body.ln_f(x[:, -1])), *kept)


class OpenVINO:
    """One model in one precision; prompts of one length, which end together."""

    def __init__(self, network: Any, dtype: str, threads: int) -> None:
        import openvino as ov
        from openvino._offline_transformations import apply_make_stateful_transformation

        config = network.config
        width, count = config.n_embd // config.n_head, 2 * config.n_layer
        past = [torch.zeros(2, config.n_head, 3, width) for _ in range(count)]
        example = (torch.zeros(2, 4, dtype=torch.int64), torch.arange(2), *past)
        with torch.inference_mode():
            model = ov.convert_model(Step(network.float().eval(), dtype).eval(), example_input=example)
        sizes = [ov.PartialShape([-1, -1]), ov.PartialShape([-1])]
        sizes += [ov.PartialShape([-1, config.n_head, -1, width])] * count
        names = ["tokens", "rows", *(f"past{number}" for number in range(count))]
        for port, name, size in zip(model.inputs, names, sizes, strict=True):
            port.get_tensor().set_names({name})
            port.get_node().set_partial_shape(size)
        for port, name in zip(model.outputs, ["logits", *(f"kept{number}" for number in range(count))], strict=True):
            port.get_tensor().set_names({name})
        model.validate_nodes_and_infer_types()
        apply_make_stateful_transformation(model, {f"past{number}": f"kept{number}" for number in range(count)})
        hint = "bf16" if dtype == "bfloat16" else "f32"
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def generate(self, prompts: Sequence[Sequence[int]], wants: Sequence[int]) -> list[list[int]]:
        """One call for all; they must be alike."""
        [want], [_] = set(wants), set(map(len, prompts))
        self._request.reset_state()
        tokens, made = np.array(prompts, dtype=np.int64), []
        rows = np.arange(len(prompts), dtype=np.int64)
        for _ in range(want):
            logits = self._request.infer({"tokens": tokens, "rows": rows})["logits"]
            tokens = logits.argmax(-1)[:, None].astype(np.int64)
            made.append(tokens[:, 0])
        return np.stack(made, 1).tolist()  # type: ignore[no-any-return]

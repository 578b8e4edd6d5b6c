"""llama.cpp, through llama-cpp-python: continuous batching over its own C interface, weights written by gguf."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import flags

KINDS = {"float32": "F32", "bfloat16": "BF16", "int8": "Q8_0"}
READ = 512  # tokens of one pass; more are not faster
NAMES = {
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
}


class Llama:
    """One model in one precision."""

    def __init__(self, network: Any, folder: Path, dtype: str, threads: int, rows: int, places: int) -> None:
        """rows: sequences at a time, at most. places: tokens of each, at most."""
        import llama_cpp

        self._lib = llama_cpp
        self._silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        path = folder / f"{dtype}.gguf"
        if not path.exists():
            write(network, path, KINDS[dtype])
        loading = llama_cpp.llama_model_default_params()
        if dtype == "int8" and "amx_int8" in flags():  # its kernel for these tiles crashes (llama-cpp-python 0.3.36)
            loading.use_extra_bufts = False
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), loading)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = rows * -(-places // 256) * 256
        settings.n_batch, settings.n_ubatch, settings.n_seq_max = 2048, READ, rows
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._batch = llama_cpp.llama_batch_init(2048, 0, 1)
        self._vocabulary = network.config.vocab_size

    def generate(self, prompts: Sequence[Sequence[int]], wants: Sequence[int]) -> list[list[int]]:
        """Every pass reads the last token of each row that goes on, and prompts as long as they fit."""
        lib, made = self._lib, [list[int]() for _ in prompts]
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        waiting, going = list(range(len(prompts))), list[int]()
        while waiting or going:
            tokens = [(made[row][-1], len(prompts[row]) + len(made[row]) - 1, row, True) for row in going]
            while waiting and len(tokens) + len(prompts[waiting[0]]) <= READ:
                row = waiting.pop(0)
                last = len(prompts[row]) - 1
                tokens += [(token, place, row, place == last) for place, token in enumerate(prompts[row])]
                going.append(row)
            for at, logits in self._read(tokens):
                made[at].append(int(logits.argmax()))
            going = [row for row in going if len(made[row]) < wants[row]]
        return made

    def _read(self, tokens: Sequence[tuple[int, int, int, bool]]) -> list[tuple[int, Any]]:
        """One pass over (token, place, row, whether its logits are wanted); the rows and logits that are."""
        batch, lib = self._batch, self._lib
        batch.n_tokens = len(tokens)
        for at, (token, place, row, wanted) in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, place, 1
            batch.seq_id[at][0], batch.logits[at] = row, wanted
        if lib.llama_decode(self._context, batch):
            raise RuntimeError("llama.cpp could not read the batch")
        return [
            (row, np.ctypeslib.as_array(lib.llama_get_logits_ith(self._context, at), shape=(self._vocabulary,)))
            for at, (_, _, row, wanted) in enumerate(tokens)
            if wanted
        ]


def write(network: Any, path: Path, kind: str) -> None:
    """The weights of a transformers GPT-2 as llama.cpp reads them: matrices in `kind`, the rest in float32."""
    import gguf

    config, body = network.config, network.transformer
    writer = gguf.GGUFWriter(str(path), "gpt2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(int(gguf.LlamaFileType[{"F32": "ALL_F32"}.get(kind, f"MOSTLY_{kind}")]))
    quantised = gguf.GGMLQuantizationType[kind]

    def add(name: str, weight: Any, matrix: bool = False) -> None:
        data = weight.detach().float().numpy()
        if matrix and kind != "F32":
            writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(data), quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(name, np.ascontiguousarray(data))

    add("token_embd.weight", body.wte.weight, matrix=True)
    add("position_embd.weight", body.wpe.weight)
    for number, layer in enumerate(body.h):
        for theirs, name in NAMES.items():
            module = layer.get_submodule(theirs)
            matrix = module.weight.ndim == 2  # a Conv1D keeps inputs x outputs
            add(f"blk.{number}.{name}.weight", module.weight.T if matrix else module.weight, matrix)
            add(f"blk.{number}.{name}.bias", module.bias)
    add("output_norm.weight", body.ln_f.weight)
    add("output_norm.bias", body.ln_f.bias)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

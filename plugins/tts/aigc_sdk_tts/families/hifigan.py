"""HiFi-GAN vocoders of transformers' models, decoded window by window (Kong et al. 2020, arXiv:2010.05646).

A sample depends on few frames around it, so that a window of frames and their neighbours gives the same samples as the
whole. Before every layer the neighbours that no later one needs are cut off; little is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_WINDOW = 32  # frames, about 0.4 s of sound: the first ones shall be ready soon
LAST_WINDOW = 256  # frames; windows double up to here


class Vocoder(nn.Module):
    """What `module`, the HiFi-GAN of a VITS, SpeechT5 or FastSpeech2Conformer, computes; with weights of its own.

    Weight norm is multiplied out once. The layers are pictures one line high with channels last, which torch convolves
    on a CPU in half the time. dtype: torch.float32 or torch.bfloat16, to compute in.
    """

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.slope = float(module.config.leaky_relu_slope)
        self.kinds = len(module.resblocks) // len(module.upsampler)  # blocks beside one another, which are averaged
        self.before = _wide(module.conv_pre)
        self.speaker = _wide(module.cond) if hasattr(module, "cond") else None
        self.upsampling = nn.ModuleList(_wide(each) for each in module.upsampler)
        self.blocks = nn.ModuleList(
            nn.ModuleList(_wide(conv) for pair in zip(each.convs1, each.convs2, strict=True) for conv in pair)
            for each in module.resblocks
        )
        self.after = _wide(module.conv_post)
        self.hop = math.prod(each.stride[0] for each in module.upsampler)
        self.dtype = dtype
        self.to(dtype=dtype)
        for each in self.parameters():
            if each.dim() == 4:
                each.data = each.data.contiguous(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.needs = self._needs()

    def windows(self, frames: Tensor, speaker: Tensor | None = None) -> Iterator[NDArray[np.float32]]:
        """The samples of `frames`, a window at a time. frames: (1, c, t). speaker: its embedding, (1, c, 1)."""
        start, size, length = 0, FIRST_WINDOW, frames.shape[-1]
        while start < length:
            stop = length if start + 2 * size > length else start + size  # no scrap at the end
            yield self.window(frames, start, stop, speaker)
            start, size = stop, min(2 * size, LAST_WINDOW)

    @torch.inference_mode()
    def window(self, frames: Tensor, start: int, stop: int, speaker: Tensor | None = None) -> NDArray[np.float32]:
        """The samples of the frames from `start` to `stop`, (time,)."""
        left, right = min(self.needs[0], start), min(self.needs[0], frames.shape[-1] - stop)
        x = frames[..., start - left : stop + right].to(self.dtype)[:, :, None]  # (1, c, 1, t)
        x = self.before(x.contiguous(memory_format=torch.channels_last))
        if speaker is not None and self.speaker is not None:
            x = x + self.speaker(speaker.to(self.dtype)[:, :, None])
        upsampling: Any = self.upsampling
        for index, layer in enumerate(upsampling):
            x, left, right = _cut(x, left, right, self.needs[index + 1])
            x = layer(F.leaky_relu(x, self.slope))
            left, right = left * layer.stride[1], right * layer.stride[1]
            x = self._averaged(x, index)
        x, left, right = _cut(x, left, right, self.needs[-1])
        samples = torch.tanh(self.after(F.leaky_relu(x)).float())[0, 0, 0]  # (t,)
        return samples[left : len(samples) - right].cpu().numpy()

    def _averaged(self, x: Tensor, index: int) -> Tensor:
        """The mean of the residual blocks that follow upsampling `index`."""
        total = None
        for block in self.blocks[index * self.kinds : (index + 1) * self.kinds]:
            y = x
            for first, second in zip(block[::2], block[1::2], strict=True):  # type: ignore[index]
                y = second(F.leaky_relu(first(F.leaky_relu(y, self.slope)), self.slope, inplace=True)) + y
            total = y if total is None else total.add_(y)
        assert total is not None
        return total / self.kinds

    def _needs(self) -> list[int]:
        """How many neighbours on each side are needed before the first layer, each upsampling, and the last layer."""
        need = _reach(self.after)
        needs = [need]
        for index in reversed(range(len(self.upsampling))):
            blocks: Any = self.blocks[index * self.kinds : (index + 1) * self.kinds]
            layer: Any = self.upsampling[index]
            need += max(sum(_reach(conv) for conv in each) for each in blocks)
            kernel, stride, padding = layer.kernel_size[1], layer.stride[1], layer.padding[1]
            need = -(-(need + max(kernel - 1 - padding, padding)) // stride)
            needs.append(need)
        needs.append(need + _reach(self.before))
        return needs[::-1]


def _wide(layer: Any) -> nn.Module:
    """The same convolution of pictures one line high."""
    kind = nn.ConvTranspose2d if isinstance(layer, nn.ConvTranspose1d) else nn.Conv2d
    made = kind(
        layer.in_channels,
        layer.out_channels,
        (1, layer.kernel_size[0]),
        stride=(1, layer.stride[0]),
        padding=(0, layer.padding[0]),
        dilation=(1, layer.dilation[0]),
        bias=layer.bias is not None,
        device="meta",
    )
    made.weight = nn.Parameter(layer.weight.detach()[:, :, None].clone())
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias.detach().clone())
    return made


def _reach(conv: Any) -> int:
    return int(conv.dilation[1] * (conv.kernel_size[1] - 1) // 2)


def _cut(x: Tensor, left: int, right: int, need: int) -> tuple[Tensor, int, int]:
    """Leave at most `need` neighbours on each side."""
    keep_left, keep_right = min(left, need), min(right, need)
    return x[..., left - keep_left : x.shape[-1] - (right - keep_right)], keep_left, keep_right

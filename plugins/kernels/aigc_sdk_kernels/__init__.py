"""Compiled kernels for aigc_sdk: GPT-2 on a CPU in float32, bfloat16 and int8.

This package offers no backend. `aigc_sdk_gpt2` finds it by its entry point, and decodes with it where it can.
"""

from .library import PRECISIONS, Availability, available, paths
from .matrix import Matrix
from .network import Affine, Block, Network, Norm
from .rows import Rows

__version__ = "0.1.0"
__all__ = ["PRECISIONS", "Affine", "Availability", "Block", "Matrix", "Network", "Norm", "Rows", "available", "paths"]

"""Any clip: its first frame and how each later one moves and changes, made by one flow over the latents of all."""

from .network import LatentNetwork as Network

__all__ = ["Network"]

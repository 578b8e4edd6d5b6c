"""Any clip, whole frames at a time: a frame autoencoder, and a flow over the latents of all frames at once."""

from .network import LatentNetwork as Network

__all__ = ["Network"]

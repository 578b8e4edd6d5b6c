"""The object model: what things look like, and how they move, are made apart from each other.

finding.py   where the things of a clip are: what differs from the background, followed from frame to frame
looks.py     the first phase: a look (16 numbers) from a cut-out, a sprite from a look, a background from a frame
motion.py    the second: flow matching over a thing's look and path together
network.py   both; and clips made of them, window after window
"""

from .network import Network

__all__ = ["Network"]

"""The mel scale, and its triangular bands, for whatever looks at the spectrum of a sound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def mel(hertz: float) -> float:
    """Where a frequency lies on the mel scale: 2595 log10(1 + f / 700) (O'Shaughnessy 1987)."""
    return 2595 * math.log10(1 + hertz / 700)


def edges(lowest: float, highest: float, bands: int) -> NDArray[np.float64]:
    """The frequencies in Hz between which bands lie, evenly on the mel scale from `lowest` to `highest`: (bands + 2,)."""
    import numpy as np

    return np.asarray(700 * (10 ** (np.linspace(mel(lowest), mel(highest), bands + 2) / 2595) - 1))


def triangles(edges: NDArray[np.float64], frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of frequencies in Hz (bins,) in bands (Davis and Mermelstein 1980): (bands, bins), 0 to 1.

    edges: see the function of this name. Band i rises from edge i to 1 at edge i + 1, and falls to edge i + 2.
    """
    import numpy as np

    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))

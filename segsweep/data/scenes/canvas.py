"""The canvas of every generated image: its size and the coordinates of its pixels."""

import numpy as np
import numpy.typing as npt

SIZE_PX = 96

Field = npt.NDArray[
    np.float64
]  # (H, W), or (3, H, W) for an image in 0..1; 64 bits make the rounded pixels equal on all platforms
Random = np.random.Generator

Y, X = (axis.astype(np.float64) for axis in np.mgrid[:SIZE_PX, :SIZE_PX])

"""Procedurally generated scenes: a target like Oxford-IIIT Pet, three sources of increasing distance to it, and two streets.

No files are shipped or downloaded: an image is a function of (`VERSION`, dataset, index) only.

`generated_pets`, the target, shows furry animals; `generated_near` shows other figures with the same fur and light;
`generated_middle` man-made objects with other surfaces; `generated_far` dark blobs on skin. Figures, backgrounds and other
objects (smooth, dotted, chequered or blotchy) draw their colours and contrasts from one distribution, so that a network has to
learn surface and shape: no threshold separates the figure, except in `generated_far`.

`generated_city` and `generated_street` are the source and the target of a shift between the streets of two countries: cars look
alike in both; traffic signs and light differ.
"""

from segsweep.data.scenes.canvas import SIZE_PX
from segsweep.data.scenes.dataset import GENERATED, Generated

__all__ = ["GENERATED", "SIZE_PX", "Generated"]

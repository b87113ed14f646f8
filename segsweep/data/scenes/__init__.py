"""Procedurally drawn scenes: a target like Oxford-IIIT Pet and three sources at a growing distance from it; two streets.

No files are shipped and nothing is downloaded: a picture is a function of (`VERSION`, dataset, index) alone.

`generated_pets`, the target, shows furry animals; `generated_near` other figures with the same fur and the same light;
`generated_middle` man-made objects with other surfaces; `generated_far` dark blobs on skin. Figures, backgrounds and
the smooth, dotted, chequered or blotchy things that lie about take their colours and contrasts from one distribution,
so that a network has to learn surface and shape: no threshold finds the figure, except in `generated_far`.

`generated_city` and `generated_street` are another pair, source and target of a shift between two countries' streets:
the cars stay, the traffic signs and the light change.
"""

from segsweep.data.scenes.canvas import SIZE_PX
from segsweep.data.scenes.dataset import GENERATED, Generated

__all__ = ["GENERATED", "SIZE_PX", "Generated"]

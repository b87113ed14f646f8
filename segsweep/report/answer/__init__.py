"""The answer of a study: intervals that cover seeds and test images, the best cells, the effects of the axes, and sentences."""

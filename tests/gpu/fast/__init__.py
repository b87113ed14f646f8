"""Parts that measure time."""

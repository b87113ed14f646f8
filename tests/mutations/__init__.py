"""The lines that matter most: each is broken once, and one fast test must catch it. See tests/README.md."""

"""Proof and measurement of everything that needs a GPU: `python -m tests.gpu --out DIR`. See README.md."""

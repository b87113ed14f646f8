"""Checks and measurements of everything that needs a GPU: `python -m tests.gpu --out DIR`. See README.md."""

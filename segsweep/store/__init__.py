"""Artifacts: prepared data and weights, built once, written whole, checked when read."""

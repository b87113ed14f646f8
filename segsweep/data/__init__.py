"""Datasets, one file each, and the way from their files to the arrays that training reads."""

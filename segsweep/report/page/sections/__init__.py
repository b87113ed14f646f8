"""Sections of a study's page: each from the study's records and its answer."""

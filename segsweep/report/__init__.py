"""Answers from records: tables and pictures. Needs neither torch nor Ray."""

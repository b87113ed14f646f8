"""Answers from records: tables, pictures, files for other tools. Needs neither torch nor Ray."""

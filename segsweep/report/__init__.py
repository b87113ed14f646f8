"""Reports from records: tables, status, figures, and files for other tools. Imports neither torch nor Ray."""

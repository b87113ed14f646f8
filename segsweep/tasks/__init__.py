"""Tasks: what can be scheduled, and the table of its kinds."""

"""Tasks, the units of schedulable work, and the table of their kinds."""

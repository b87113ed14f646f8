"""The Ray runner: executes tasks in warm worker processes, on one machine or on a cluster."""

"""The planner, per-cell search and early stopping, and the runners that carry out what the planner decides."""

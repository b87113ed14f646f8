"""Planning and execution of a study: checks, plan, planner, early stopping, driver, and the runners."""

"""The Ray runner: work is carried out by warm worker processes on one machine or many."""

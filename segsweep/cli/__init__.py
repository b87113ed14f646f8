"""The command line: study scripts and the `segsweep` command."""

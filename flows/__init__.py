"""Flows: the order of the tasks, and the command line."""

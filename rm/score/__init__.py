"""Scoring: a loaded reward model gives rewards, of the held-out responses as a stage. Does not import `rm.train`."""

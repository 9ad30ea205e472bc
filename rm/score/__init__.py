"""Scoring: rewards of texts by a loaded reward model, and the stage for held-out responses. No import of `rm.train`."""

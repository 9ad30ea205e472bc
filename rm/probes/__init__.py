"""Probes: edits of responses and prompts, which responses each probe edits, and how the rewards change.

`catalog` lists the probes. May import `rm.score` and the packages before it.
"""

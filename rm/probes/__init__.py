"""Probes: edits of responses and prompts, which responses each probe gets, their rewards, and how these change.

`catalog` lists the probes. May import `rm.score` and what stands before it.
"""

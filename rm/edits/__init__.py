"""Edits of responses: pure functions of a text, that probes and a remedy use.

Knows texts alone, and imports nothing else of `rm`.
"""

"""Variants of a reward that passed: calibrated, and without its length part.

`rm.variants.fitting` fits them on one part of the held-out prompts and measures them on the other, and
`rm.variants.records` has what a server needs to apply them. May import the audit and what comes before.
"""

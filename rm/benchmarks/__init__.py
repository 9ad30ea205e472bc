"""Data files of published benchmarks, and their formulas for a model's score.

The scores are for comparison with published ones; nothing here decides whether a model is good. `catalog` lists the
benchmarks.
"""

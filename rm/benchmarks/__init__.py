"""Data files of published benchmarks, and their own formulas over a model's rewards.

The numbers are for comparison with published ones: nothing here decides whether a model is good. `catalog` lists the
benchmarks.
"""

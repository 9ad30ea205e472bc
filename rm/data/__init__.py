"""Annotations: files and hub data sets read row by row, merged into prompts with comparisons, split by prompt.

`formats` has one reader per format of annotation rows. May import `rm.errors`, `rm.files` and `rm.manifests`.
"""

"""Annotations: files and hub data sets read row by row, merged into prompts with comparisons, split by prompt.

`formats` has a reader for each format of annotation rows. May import `rm.errors`, `rm.files` and `rm.manifests`.
"""

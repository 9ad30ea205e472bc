"""Audits outside the pipeline: of a file of scores, or of any reward model on a labelled file."""

"""Texts to token ids: chat templates, fast encoding, truncation, and the tokenized data set.

May import `rm.model` and `rm.data`.
"""

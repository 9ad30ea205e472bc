"""The reward model: a transformers backbone with a head, packed and padded rows, loading and saving.

Imports torch and transformers, and of `rm` only `rm.errors` and `rm.files`; whoever serves a model needs no more. What
the pipeline adds to that lies in `config`, `manifests` and `base_models`, which the other modules here do not import.
"""

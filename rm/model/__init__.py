"""The reward model: a transformers backbone with a head, packed and padded rows, loading and saving.

Imports torch and transformers, and of `rm` only `rm.errors` and `rm.files`; serving a model needs no more. The modules
`config`, `manifests` and `base_models` belong to the pipeline; the other modules here do not import them.
"""

"""Training: steps of a fixed number of pairs, the loss, the loop with its resume points, several processes.

`step` and what it needs (`batching`, `objective`, `loss`, `distributed`) import only torch and transformers;
`loop` adds files and manifests. May import the earlier packages of `rm`, but not `rm.score`.
"""

"""Training: steps of a fixed number of pairs, the loss, the loop with its resume points, several processes.

`step` and what it needs (`batching`, `objective`, `loss`, `distributed`) import torch and transformers only; `loop`
adds files and manifests. May import what stands before it in `rm`, not `rm.score`.
"""

"""The audit: what is measured on the held-out pairs. One module asks one question; `run` asks them all.

Nothing is judged here, `rm.gate` does. May import `rm.probes` and what stands before it.
"""

"""The audit: what is measured on the held-out pairs. Each module asks one question; `run` asks them all.

Nothing is judged here: `rm.gate` judges. May import `rm.probes` and the packages before it.
"""

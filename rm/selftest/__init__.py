"""The self-test: biases of known strength are planted on an audit's own pairs, which shows what it would have found.

May import `rm.audit`, `rm.gate` and those before.
"""

"""The self-test: biases of known strength are planted on an audit's own pairs, which shows what it would have found.

Also a small made-up world in which quality is known (`toy_world`). May import `rm.audit`, `rm.gate` and those before.
"""

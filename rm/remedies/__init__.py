"""What training does against biases of the annotations: terms of the loss and added pairs.

`rm.remedies.candidates` says which are for what failed.

One file per remedy, with its formula and its source; `rm.remedies.config` has the setting of each. What each is worth
is in docs/remedies.md. May import tokens and what comes before; the terms need torch alone.
"""

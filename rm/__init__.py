"""Train, audit and gate reward models. Knows no orchestrator and reads no environment.

The stages, in the order in which data passes through them: ``store.append``, ``snapshots.snapshot``,
``tokenization.tokenize``, ``training.fit``, ``scoring.score``, ``audit.audit``, ``gate.decide``.
Importing this package loads nothing heavy; import the module that you need.
"""

__version__ = "0.1.0"

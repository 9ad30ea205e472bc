"""Train, audit, remedy and gate reward models. Knows no orchestrator and reads no environment.

The packages, each of which may import those before it (`tests/test_architecture.py`):

    stats, model      statistics of clustered data; the reward model and how it reads packed rows
    data, tokens      annotations read, merged and split; texts as token ids
    train, score      the training loop; rewards of responses
    probes            edits of responses and prompts, and how rewards change with them
    audit             measurements on held-out pairs
    gate, benchmarks  checks, policy and verdict; published benchmarks
    pipeline, selftest  the recipe; whether the audit finds planted biases
    report            the audit as a page, JSON, Markdown, JUnit and a model card
    standalone        audits of score files, and of any model, without the pipeline

Importing this package loads nothing heavy; import the module that you need.
"""

__version__ = "0.1.0"

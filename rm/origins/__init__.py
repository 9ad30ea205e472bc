"""Where a bias comes from: which sources, annotators and judgements taught a model to pay for a feature.

May import the audit and what comes before.
"""

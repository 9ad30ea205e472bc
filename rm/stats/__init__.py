"""Statistics of clustered data: estimates with bootstrap intervals, correlations, logistic regression, and findings.

Knows numpy and scipy, no text, no model and no file. May import `rm.errors` and `rm.files`.
"""

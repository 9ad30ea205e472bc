"""The audit of labels, before money is spent on them.

Do they follow length and style, do annotators agree, is the held-out part clean, and has anything changed since the
last snapshot?
`run` measures, `checks` holds what was measured against limits that warn or stop, `stage` is both as a stage.
"""

"""The report: an audit and its verdict as one HTML page, JSON, Markdown, JUnit XML and a model card.

`stage` writes them; `sections` lists what the page shows. Annotators' text is hostile: templates escape everything.
"""

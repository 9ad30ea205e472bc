"""Models that are trained anew with remedies after the gate has failed one: by what one is chosen, the trail.

May import the report and what comes before.
"""

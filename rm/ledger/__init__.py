"""The ledger: every bias of every version that was audited, over time, and an alert when one falls while another rises.

`rm.ledger.quantities` lists what is followed, `rm.ledger.reading` reads it from an `audit.json`, `rm.ledger.changes`
compares two runs, `rm.ledger.records` is the whole ledger, and `rm.ledger.page` shows it.
"""

"""The self-test: toy reward models with a planted bias are audited, which shows what the audit would have found."""

"""The self-test: toy reward models with a planted bias go through the audit, which shows what it would have found."""

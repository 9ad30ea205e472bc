"""The recipe of a whole pipeline: its sections together, read from YAML with overrides."""

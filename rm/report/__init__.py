"""An audit and its verdict as one self-contained HTML page and one JSON file."""

from rm.report.page import write

__all__ = ["write"]

"""Arrow types of columns that several tables have."""

from __future__ import annotations

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""A prompt."""
ATTRIBUTES = pa.map_(pa.string(), pa.float64())
"""What is known of a response: name to value."""

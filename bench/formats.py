"""Print docs/formats.md: what each format is made of, and what becomes of a row of it."""

from rm.data.formats.document import page

print(page(), end="")

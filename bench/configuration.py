"""Print docs/configuration.md: each key of a recipe, its values, its default and its meaning."""

from rm.pipeline.document import page

print(page(), end="")

"""Validation of many documents of one schema, of which each kind of record is read once."""

from typing import Any

from jsonschema import Draft202012Validator


class SchemaCheck:
    """Validates documents; a record of a list is left out if one with its keys, types and enumerated words was read.

    The words are those that the schema lists anywhere. Single values, and records outside lists, are always read.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = Draft202012Validator(schema)
        self._words = set(_words(schema))
        self._known: set[Any] = set()

    def validate(self, document: dict[str, Any]) -> None:
        self._validator.validate(self._unknown(document, ()))

    def _unknown(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self._unknown(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._unknown(item, path) for item in value if not isinstance(item, dict) or self._add(item, path)]
        return value

    def _add(self, record: dict[str, Any], path: tuple[str, ...]) -> bool:
        num_before = len(self._known)
        self._known.add((path, self._shape(record)))
        return len(self._known) > num_before

    def _shape(self, value: Any) -> Any:
        if isinstance(value, dict):
            return tuple((key, self._shape(item)) for key, item in value.items())
        if isinstance(value, list):
            return tuple(self._shape(item) for item in value)
        return value if isinstance(value, str) and value in self._words else type(value)


def _words(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        return [*schema.get("enum", ()), *(word for part in schema.values() for word in _words(part))]
    return [word for part in schema for word in _words(part)] if isinstance(schema, list) else []

"""YAML as people write it in recipes: a key stands once, and a short text gives no large value."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_NODES = 10_000
"""Values and keys, each alias counted as what it stands for. The recipes of this project have under 100."""
_DEEPEST = 50


def values_of(text: str) -> Any:
    """What a YAML text says.

    Raises
    ------
    ValueError
        If it is no YAML, a key stands twice in a mapping, it is nested too deeply, or its aliases would make it large;
        with the line.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Reader().size(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError(f"nested more than {_DEEPEST} deep") from None
    finally:
        loader.dispose()


class _Reader:
    """Looks at the nodes of a text, each once, before values are made of them."""

    def __init__(self) -> None:
        self._sizes: dict[yaml.Node, int] = {}
        self._open: list[yaml.Node] = []

    def size(self, node: yaml.Node) -> int:
        """Number of nodes that a node stands for."""
        if node in self._sizes:
            return self._sizes[node]
        if node in self._open:
            raise ValueError(f"line {_line(node)}: refers to itself")
        if len(self._open) >= _DEEPEST:
            raise ValueError(f"line {_line(node)}: nested more than {_DEEPEST} deep")
        self._open.append(node)
        size = 1 + sum(self.size(child) for child in _children(node))
        self._open.pop()
        if size > _MOST_NODES:
            raise ValueError(f"line {_line(node)}: more than {_MOST_NODES:,} values")
        self._sizes[node] = size
        return size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if first := lines.get((key.tag, key.value)):
            raise ValueError(f"line {_line(key)}: the key {key.value!r} stands twice; first in line {first}")
        lines[key.tag, key.value] = _line(key)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1

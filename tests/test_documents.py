"""What the documents, docstrings and comments name exists: paths, modules and what is in them, links."""

import ast
import pkgutil
import re
import shlex
import tokenize
from pathlib import Path

import pytest
import typer

from flows.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = [path for folder in ("rm", "tasks", "flows", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]
FILE_NAMES = {
    path.name for folder in ("rm", "tasks", "flows", "bench", "tests") for path in (ROOT / folder).rglob("*.py")
}
PATH = re.compile(r"(?<![\w/.-])(?:rm|tasks|flows|bench|tests|docs|configs)/[\w./-]*")
NAME = re.compile(r"(?<![\w/.-])(?:rm|tasks|flows)(?:\.\w+)+")
FILE_NAME = re.compile(r"(?<![\w/.*-])\w+\.py\b")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def relative(path):
    return path.relative_to(ROOT).as_posix()


def prose(path):
    """The comments of a program, and all of its strings, so its docstrings too."""
    with tokenize.open(path) as file:
        comments = [token.string for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT]
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return "\n".join(comments + [node.value for node in nodes if is_text(node)])


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def stale(text):
    """Paths, file names and dotted names in a text that lead nowhere."""
    paths = {path.rstrip(".") for path in PATH.findall(text)}
    unknown = {path for path in paths if not (ROOT / path).exists()}
    unknown |= set(FILE_NAME.findall(text)) - FILE_NAMES
    return unknown | {name for name in NAME.findall(text) if not (is_file_name(name) or resolves(name))}


def is_file_name(name):
    return name.endswith(".py")


def resolves(name):
    """Whether a dotted name is a module, something in one, or a field of a class in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        owner, _, field = name.rpartition(".")
        return "." in owner and resolves(owner) and field in getattr(pkgutil.resolve_name(owner), "__annotations__", {})
    return True


def anchors(path):
    """What GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_a_document_names_what_exists(path):
    assert not stale(path.read_text(encoding="utf-8"))


def test_docstrings_and_comments_name_what_exists():
    found = {relative(path): stale(prose(path)) for path in PROGRAMS}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=relative)
def test_links_between_documents_lead_somewhere(path):
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def commands(path):
    """The command lines of `rmflow` in the blocks of a document, in words."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.fullmatch(r"(?:time )?(?:\.venv/bin/)?rmflow (.*)", line.strip()) for line in lines]
    every = [shlex.split(line[1], comments=True) for line in found if line]
    return [words[: words.index(">")] if ">" in words else words for words in every]


def parse(words):
    """As the command line does, without doing it."""
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(command.name, rest)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_the_commands_of_a_document_have_these_options(path):
    for words in commands(path):
        parse(words)


def test_planted_names_of_nothing_are_found():
    text = "See rm/nowhere.py, `rm.stats.nothing`, ghost.py; not rm/stats/config.py, `rm.stats.config.BootstrapConfig`."
    assert stale(text) == {"rm/nowhere.py", "rm.stats.nothing", "ghost.py"}


@pytest.mark.parametrize("planted", [["run", "--recipe", "x.yaml"], ["trian"], ["models", "list", "--json", "x"]])
def test_a_planted_command_that_does_not_exist_is_found(planted):
    with pytest.raises((typer.TyperException, KeyError)):
        parse(planted)

"""Manifests: what a stage hands to the next one instead of the data itself.

A stage writes its files into a folder and then seals the folder with ``manifest.json``: a folder without a manifest is
unfinished. A manifest names its inputs, so the last one leads back to the annotation files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rm.errors import ManifestError
from rm.files import replace_text, sha256_file, sha256_json
from rm.locations import Location, Url

MANIFEST_NAME = "manifest.json"

M = TypeVar("M", bound="Manifest")


class Digested(Protocol):
    """Anything with a path and a digest: a manifest, or a version of the annotations table."""

    @property
    def path(self) -> Path | Url:
        """The folder, or the URL of a table."""
        ...

    @property
    def digest(self) -> str:
        """Digest of its content."""
        ...


class InputRef(BaseModel):
    """Path of a stage's input, and its digest when the stage read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Location
    digest: str


class Manifest(BaseModel):
    """A finished stage: its folder, the digests of its files, and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    KIND: ClassVar[str]

    kind: str
    schema_version: Literal[2] = 2
    path: Path
    """The folder that holds the files."""
    digest: str
    """SHA-256 over the names and contents of the files; two equal digests mean equal content."""
    files: dict[str, str]
    """File name, relative to the folder, to SHA-256."""
    num_rows: int
    inputs: tuple[InputRef, ...] = ()
    """What the stage read; empty for files that were made from the configuration alone."""
    config_digest: str

    @classmethod
    def seal(cls, path: Path, *, inputs: Sequence[Digested], config: BaseModel, num_rows: int, **fields: Any) -> Self:
        """Digest every file in the folder and write its manifest, which marks the folder as finished.

        Parameters
        ----------
        path : Path
            The folder.
        inputs : sequence of Digested
            What the stage read.
        config : BaseModel
            The stage's configuration; only its digest is kept.
        num_rows : int
        **fields
            The other fields of this kind of manifest.

        Returns
        -------
        Manifest
        """
        for partial in path.rglob("*.partial"):
            partial.unlink()  # left by a process that was killed while it wrote
        files = digests(path, beside={MANIFEST_NAME})
        manifest = cls(
            kind=cls.KIND,
            path=path,
            digest=sha256_json(files),
            files=files,
            num_rows=num_rows,
            inputs=tuple(InputRef(path=each.path, digest=each.digest) for each in inputs),
            config_digest=sha256_json(config.model_dump(mode="json")),
            **fields,
        )
        replace_text(path / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")
        return manifest

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the manifest of a finished folder. Its ``path`` is the given path, so that a folder may be moved.

        Raises
        ------
        ManifestError
            If the folder has no manifest, or one of another kind.
        """
        file = path / MANIFEST_NAME
        try:
            manifest = cls.model_validate_json(file.read_bytes())  # bytes: what is no UTF-8 is a ValidationError too
        except (FileNotFoundError, NotADirectoryError):
            raise ManifestError(f"{file}: no manifest; the stage that writes this folder has not finished") from None
        except ValidationError as error:
            raise ManifestError(f"{file}: not a manifest of a {cls.KIND}: {error}") from None
        if manifest.kind != cls.KIND:
            raise ManifestError(f"{file}: expected the manifest of a {cls.KIND}, got that of a {manifest.kind}")
        return manifest.model_copy(update={"path": path})

    def read_input(self, kind: type[M]) -> M:
        """Read the manifest of the first input, and check that its files are unchanged.

        Parameters
        ----------
        kind : type of Manifest
            The class of the input's manifest.

        Raises
        ------
        ManifestError
            If the input is gone, unfinished or changed.
        """
        first = kind.read(Path(str(self.inputs[0].path)))
        first.check()
        if first.digest != (expected := self.inputs[0].digest):
            raise ManifestError(
                f"{first.path}: expected the digest {expected[:12]} that {self.path} was made from, got "
                f"{first.digest[:12]}"
            )
        return first

    def check(self) -> None:
        """Check that every file is there and unchanged, and that there is no other file.

        Raises
        ------
        ManifestError
            Naming the first file that is gone, differs or is not listed.
        """
        check_files(self.path, self.files, beside={MANIFEST_NAME})

    def is_same(self, other: Manifest) -> bool:
        """Whether another manifest says the same of the same content, wherever the folders lie."""
        return self._without_paths() == other._without_paths()

    def _without_paths(self) -> str:
        inputs = [each.digest for each in self.inputs]
        return sha256_json([self.model_dump(mode="json", exclude={"path", "inputs"}), inputs])


def names_in(folder: Path) -> set[str]:
    """Names of all files below a folder, relative to it; also of links to folders, which no manifest lists."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}


def digests(folder: Path, beside: Set[str] = frozenset()) -> dict[str, str]:
    """Names of all files below a folder to their SHA-256, without those of these names."""
    return {name: sha256_file(folder / name) for name in sorted(names_in(folder) - beside)}


def check_files(
    folder: Path, files: Mapping[str, str], beside: Set[str] = frozenset(), listed_in: str = "manifest"
) -> None:
    """Check that a folder holds these files and no others.

    Parameters
    ----------
    folder : Path
    files : mapping of str to str
        File name, relative to the folder, to SHA-256.
    beside : set of str, optional
        Names of further files that may be there, whatever they hold.
    listed_in : str, optional
        What lists the files, for the messages.

    Raises
    ------
    ManifestError
        Naming the first file that is gone, differs or is not listed.
    """
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ManifestError(f"{file}: gone since its {listed_in} was written")
        if (found := sha256_file(file)) != expected:
            raise ManifestError(f"{file}: SHA-256 {found[:12]} differs from the {listed_in}'s {expected[:12]}")
    if unlisted := sorted(names_in(folder) - files.keys() - beside):
        raise ManifestError(
            f"{folder / unlisted[0]}: expected only the files of the {listed_in}, which does not list it"
        )


def is_whole(path: Path, kind: type[Manifest]) -> bool:
    """Whether a folder holds a finished stage of this kind, with all its files unchanged and no others."""
    try:
        kind.read(path).check()
    except ManifestError:
        return False
    return True

"""Manifests: what a stage hands to the next one instead of the data itself.

A stage writes its files into a folder of its own and seals the folder with ``manifest.json``, written last: a folder
without one is unfinished. A manifest names its parent, so the last one leads back to the annotation files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rm.errors import ManifestError
from rm.files import replace_text, sha256_file, sha256_json

MANIFEST_NAME = "manifest.json"

M = TypeVar("M", bound="Manifest")


class Digested(Protocol):
    """Anything with a place and a digest: a manifest, or a version of the annotations table."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def digest(self) -> str:
        """Digest of its content."""
        ...


class InputRef(BaseModel):
    """Where a stage's input lies, and its digest at that time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    digest: str


class Manifest(BaseModel):
    """A finished stage: its folder, the digests of its files, and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    KIND: ClassVar[str]

    kind: str
    schema_version: Literal[1] = 1
    path: Path
    """The folder that holds the files."""
    digest: str
    """SHA-256 over the names and contents of the files; two equal digests mean equal content."""
    files: dict[str, str]
    """File name, relative to the folder, to SHA-256."""
    num_rows: int
    parents: tuple[InputRef, ...] = ()
    config_digest: str

    @classmethod
    def seal(cls, path: Path, *, parents: Sequence[Digested], config: BaseModel, num_rows: int, **fields: Any) -> Self:
        """Digest every file in the folder and write its manifest, which marks it as finished."""
        for partial in path.rglob("*.partial"):
            partial.unlink()  # left by a process that was killed while it wrote
        files = {
            file.relative_to(path).as_posix(): sha256_file(file)
            for file in sorted(path.rglob("*"))
            if file.is_file() and file != path / MANIFEST_NAME
        }
        manifest = cls(
            kind=cls.KIND,
            path=path,
            digest=sha256_json(files),
            files=files,
            num_rows=num_rows,
            parents=tuple(InputRef(path=parent.path, digest=parent.digest) for parent in parents),
            config_digest=sha256_json(config.model_dump(mode="json")),
            **fields,
        )
        replace_text(path / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")
        return manifest

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the manifest of a finished folder; its path is where it was found, so that a folder may be moved.

        Raises
        ------
        ManifestError
            If the folder has none, or it is not one of this kind.
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

    def read_parent(self, kind: type[M]) -> M:
        """Read the manifest of what this was made from, and check its files and that it is still the same.

        Raises
        ------
        ManifestError
            If it is gone, unfinished or changed.
        """
        parent = kind.read(self.parents[0].path)
        parent.check()
        if parent.digest != (expected := self.parents[0].digest):
            raise ManifestError(
                f"{parent.path}: digest {parent.digest[:12]}, but {self.path} was made of {expected[:12]}"
            )
        return parent

    def check(self) -> None:
        """Raise ManifestError naming the first file that is gone or differs."""
        for name, expected in self.files.items():
            file = self.path / name
            if not file.is_file():
                raise ManifestError(f"{file}: gone since its manifest was written")
            if (found := sha256_file(file)) != expected:
                raise ManifestError(f"{file}: SHA-256 {found[:12]} differs from the manifest's {expected[:12]}")


def is_whole(path: Path, kind: type[Manifest]) -> bool:
    """Whether the folder holds a finished stage of this kind whose files are all there and unchanged."""
    try:
        kind.read(path).check()
    except ManifestError:
        return False
    return True

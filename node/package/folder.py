"""Model packages on disk: `models/<task>/<version>/`, immutable once released.

Promises: `load` compares the digest of every file, refuses additional files and links, and reads
nothing but JSON. Leaves to `node.pipeline`: whether a network reproduces the reference case.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from node.conversion import NotValid, from_json
from node.errors import BadPackage, Misconfigured
from node.package.manifest import FORMAT, Manifest, Size, problems

MANIFEST = "manifest.json"
LARGEST_MANIFEST_BYTES = 1 << 20


class _AnyFormat(msgspec.Struct):
    """The one field of a manifest that every format has."""

    format: int


@dataclass(frozen=True)
class Package:
    """A verified package: its manifest and its folder."""

    manifest: Manifest
    folder: Path
    digest: str  # SHA-256 of the manifest, which has the digests of all other files

    @cached_property
    def name(self) -> str:
        """Task and version: `brain-mr/1.3`."""
        return f"{self.manifest.task}/{self.manifest.version}"

    def size(self, name: str) -> Size:
        """Return one size of the family.

        Raises:
            Misconfigured: the package has no such size.
        """
        for known, size in self.manifest.sizes.items():
            if known == name:
                return size
        message = f"package {self.name} has no size {name!r}"
        raise Misconfigured(message, advice=f"It offers: {', '.join(self.manifest.sizes)}.")

    def network_file(self, name: str) -> Path:
        """Return the ONNX file of one size."""
        return self.folder / self.size(name).file


def load(folder: Path) -> Package:
    """Read and verify the package in `folder`.

    Raises:
        BadPackage: a file or field is missing, altered, additional or contradictory.
    """
    manifest, digest = _read_manifest(folder)
    for problem in problems(manifest):
        raise _bad(folder, problem)
    present = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if not p.is_dir()}
    present.pop(MANIFEST, None)
    for name in sorted(present.keys() - manifest.files.keys()):
        raise _bad(folder, f"{name} is not in the manifest")
    for name, expected in manifest.files.items():
        path = present.get(name)
        if path is None:
            raise _bad(folder, f"{name} is missing")
        if path.is_symlink():
            raise _bad(folder, f"{name} is a link")
        if file_digest(path) != expected:
            raise _bad(folder, f"{name} was altered: its SHA-256 is not the one in the manifest")
    return Package(manifest, folder, digest)


def installed(folder: Path) -> Package:
    """Read and verify a package in the folder where rules look for it: `<task>/<version>/`.

    Raises:
        BadPackage: as `load`, or the folder has another name.
    """
    package = load(folder)
    if package.name != f"{folder.parent.name}/{folder.name}":
        raise _bad(
            folder,
            f"the manifest names {package.name}, so no rule finds it here: rename the folder",
        )
    return package


def models_in(models: Path) -> list[Path]:
    """Return the package folders below `models`, by task and then by version, newest last.

    A folder whose name is no version is left out: it is the draft of a release.
    """
    folders = [path.parent for path in models.glob(f"*/*/{MANIFEST}")]
    folders = [folder for folder in folders if re.fullmatch(r"[0-9]+(\.[0-9]+)+", folder.name)]
    return sorted(folders, key=lambda path: (path.parent.name, version_key(path.name)))


def version_key(version: str) -> tuple[int, ...]:
    """Return the sort key of a version: 0.10 comes after 0.9."""
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def write_manifest(manifest: Manifest, folder: Path) -> Package:
    """Write the manifest of a complete folder with its digests, and load it again to verify it."""
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    complete = msgspec.structs.replace(manifest, files=files)
    encoded = msgspec.json.format(msgspec.json.encode(complete), indent=2)
    (folder / MANIFEST).write_bytes(encoded + b"\n")
    return load(folder)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise _bad(folder, f"there is no {MANIFEST}")
    if path.stat().st_size > LARGEST_MANIFEST_BYTES:
        raise _bad(folder, f"{MANIFEST} is larger than {LARGEST_MANIFEST_BYTES} bytes")
    encoded = path.read_bytes()
    try:
        version = from_json(encoded, _AnyFormat).format
        if version != FORMAT:
            raise _bad(folder, f"its format is {version}, this node reads format {FORMAT}")
        manifest = from_json(encoded, Manifest)
    except NotValid as exc:
        problem = f"{exc.about(MANIFEST)}. {exc.advice}".rstrip(". ")
        raise _bad(folder, problem) from exc
    return manifest, hashlib.sha256(encoded).hexdigest()


def _bad(folder: Path, problem: str) -> BadPackage:
    return BadPackage(
        f"package {folder.parent.name}/{folder.name}: {problem}",
        advice="Install the package again from a release for this version of segnode.",
    )

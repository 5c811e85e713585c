"""Read `Config` from YAML; an error names the line, the path, and what to write instead."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from node.config.audit import resolved_audit
from node.config.monitor import resolved_page
from node.config.problems import problems
from node.config.structs import MEANINGS, Config
from node.config.units import Ages, Bytes, CertificateName, Lengths, Range, Seconds, Texts, Words
from node.conversion import KeyPath, NotValid, shown
from node.errors import Misconfigured
from node.yaml_strict import read

LARGEST_FILE_BYTES = 1 << 20
LineOf = Callable[[KeyPath], int]  # path of a key -> its line, from 1
_UNITS = (Seconds, Bytes, Range, Lengths, Ages, Texts, Words, CertificateName)


def load(path: Path) -> Config:
    """Read a configuration file; relative paths in it are relative to the file.

    Raises:
        Misconfigured: the file is absent, is no YAML, or has an unknown key or an invalid value.
    """
    return load_with_lines(path)[0]


def load_with_lines(path: Path) -> tuple[Config, LineOf]:
    """Read a configuration file; also return the function that gives the line of a key.

    Raises:
        Misconfigured: as `load`.
    """
    return load_text_with_lines(text_of(path), str(path), path.parent)


def text_of(path: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        Misconfigured: the file is absent, too large, or no UTF-8 text.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            message = f"{path} is larger than {LARGEST_FILE_BYTES} bytes"
            raise Misconfigured(message)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        message = f"{path} does not exist"
        raise Misconfigured(message, advice="Write one with `segnode init`.") from exc
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        message = f"{path} cannot be read: {why}"
        raise Misconfigured(
            message, advice="Correct the file or its permissions, then try again."
        ) from exc


def load_text(text: str, name: str = "configuration", base: Path = Path()) -> Config:
    """Read a configuration from its text; relative paths in it are relative to `base`.

    Raises:
        Misconfigured: as `load`.
    """
    return load_text_with_lines(text, name, base)[0]


def load_text_with_lines(text: str, name: str, base: Path) -> tuple[Config, LineOf]:
    """Read a configuration from its text; also return the function that gives the line of a key.

    Raises:
        Misconfigured: as `load`.
    """
    try:
        config, document = read(text, Config, _decode, MEANINGS, may_be_null=False)
    except NotValid as exc:
        raise Misconfigured(exc.about(name), advice=exc.advice) from exc
    for path, problem in problems(config):
        error = NotValid(problem, path=path, line=document.line(path))
        raise Misconfigured(error.about(name))
    return _resolved(config, base), document.line


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return _path(value)
    if kind in _UNITS:
        return kind.parse(value)
    message = f"{shown(value)} is not a {kind.__name__}"
    raise ValueError(message)


def _path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        message = "write a path"
        raise ValueError(message)
    try:
        return Path(value).expanduser()
    except RuntimeError as exc:
        message = f"{shown(value)}: this machine has no such user"
        raise ValueError(message) from exc


def _resolved(config: Config, base: Path) -> Config:
    data = msgspec.structs.replace(config.data, dir=(base / config.data.dir).resolve())
    model = msgspec.structs.replace(config.model, dir=(base / config.model.dir).resolve())
    files = {
        key: (base / file).resolve()
        for key in ("certificate", "key", "trust")
        if (file := getattr(config.tls, key)) is not None
    }
    tls = msgspec.structs.replace(config.tls, **files)
    page = resolved_page(config.page, base)
    audit = resolved_audit(config.audit, base)
    return msgspec.structs.replace(config, data=data, model=model, tls=tls, page=page, audit=audit)

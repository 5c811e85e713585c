"""Keep identifiers of patients and studies as `data.index` says: as text, as keyed hashes, or not.

Promises: with `hashed` and `none`, no text of a header enters the database; an exact search finds
what an earlier mode kept. Anyone with the key can test guesses, so it is as private as images.
Leaves to `node.queue`: the rows.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from node import durable
from node.config import DataConfig, IndexMode
from node.errors import Misconfigured

KEY_FILE = "identifiers.key"  # in the data folder
KEY_BYTES = 32
HASH_DIGITS = 32  # 128 bits: collisions are negligible
MOST_CHARACTERS = 64  # of an identifier: an LO has no more (PS3.5 6.2)
MOST_WORDS = 64  # of the descriptions of one study
SHORTEST_WORD = 2


@dataclass(frozen=True)
class Identifiers:
    """Converts identifiers to the form in which the database keeps them."""

    mode: IndexMode
    key: bytes = field(repr=False)  # empty: nothing was ever hashed here

    def stored_form(self, text: str) -> str:
        """Return an identifier as the database keeps it now; empty if nothing is kept."""
        text = _normal(text)
        if not text or self.mode == "none":
            return ""
        return text if self.mode == "plain" else self.hashed(text)

    def hashed(self, text: str) -> str:
        """Return the keyed hash of an identifier; empty without an identifier or a key."""
        text = _normal(text)
        if not text or not self.key:
            return ""
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]

    def forms(self, text: str) -> tuple[str, ...]:
        """Return every form in which a row may hold an identifier, also from an earlier mode."""
        forms = dict.fromkeys((_normal(text), self.hashed(text)))
        return tuple(form for form in forms if form)

    def stored_words(self, *texts: str) -> tuple[str, ...]:
        """Return the distinct words of descriptions as the database keeps them."""
        all_words = (word for text in texts for word in words(text))
        distinct = dict.fromkeys(self.stored_form(word) for word in all_words)
        return tuple(word for word in distinct if word)[:MOST_WORDS]


def words(text: str) -> tuple[str, ...]:
    """Return the words of a description, folded so that a search ignores case."""
    matches = re.findall(r"\w+", text.casefold())
    return tuple(word[:MOST_CHARACTERS] for word in matches if len(word) >= SHORTEST_WORD)


def open_identifiers(data: DataConfig, *, create: bool = True) -> Identifiers:
    """Read the key of the data folder; make one if there is none and `create` is set.

    With `plain` it is needed too: of a forgotten study, a hash of the accession number remains.

    Raises:
        Misconfigured: the file does not hold a key.
    """
    path = data.dir / KEY_FILE
    if create and data.index != "none" and not path.exists():
        _make_key(path)
    return Identifiers(data.index, _read_key(path))


def _make_key(path: Path) -> None:
    durable.make_folder(path.parent)
    with durable.temporary(path.parent, secrets.token_hex(KEY_BYTES).encode()) as written:
        try:
            path.hardlink_to(written)  # never replaces a key: rows may depend on it
        except FileExistsError:  # another process made it just now
            return
    durable.sync_folder(path.parent)


def _read_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return b""
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        message = f"{path} does not hold a key"
        advice = "Restore it from a backup, or delete it: earlier hashes are then never found."
        raise Misconfigured(message, advice=advice)
    return key


def _normal(text: str) -> str:
    return text.strip()[:MOST_CHARACTERS].rstrip()

"""The file of users: one name and one hashed password per line."""

import base64
import hashlib
import hmac
import os
import re
import secrets
import threading
from pathlib import Path

from node import durable
from node.errors import Misconfigured

USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LEAST_PASSWORD, MOST_PASSWORD = 10, 256  # characters
COST, BLOCK, PARALLEL = 1 << 15, 8, 1  # of scrypt: 32 MiB and a tenth of a second
MOST_MEMORY_BYTES = 64 << 20
SALT_BYTES, HASH_BYTES = 16, 32
MOST_FILE_BYTES = 1 << 20
READABLE_BY_GROUP = 0o640  # the node may run as another user than the administrator
_ABSENT = f"scrypt:{base64.b64encode(bytes(SALT_BYTES)).decode()}:"


def hashed(password: str, salt: bytes) -> str:
    """Return a password as the file keeps it."""
    key = hashlib.scrypt(
        password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, dklen=HASH_BYTES,
        maxmem=MOST_MEMORY_BYTES,
    )  # fmt: skip
    return f"scrypt:{base64.b64encode(salt).decode()}:{base64.b64encode(key).decode()}"


def set_password(file: Path, name: str, password: str) -> None:
    """Add a user, or replace the password.

    Raises:
        Misconfigured: the name or the password cannot be used.
    """
    if not USER.fullmatch(name):
        message = f"{name!r} is no name of a user"
        raise Misconfigured(message, advice="Write up to 64 letters, digits, dots, @, _ or -.")
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        message = f"the password has {len(password)} characters"
        raise Misconfigured(message, advice=f"Write {LEAST_PASSWORD} to {MOST_PASSWORD}.")
    known = read_users(file) if file.exists() else {}
    _write(file, known | {name: hashed(password, secrets.token_bytes(SALT_BYTES))})


def remove_user(file: Path, name: str) -> None:
    """Remove a user.

    Raises:
        Misconfigured: the file has no such user.
    """
    known = read_users(file)
    if name not in known:
        message = f"{file} has no user {name!r}"
        raise Misconfigured(message, advice=f"It has: {', '.join(sorted(known)) or 'none'}.")
    _write(file, {user: password for user, password in known.items() if user != name})


def read_users(file: Path) -> dict[str, str]:
    """Return the hashed password of each user.

    Raises:
        Misconfigured: the file is absent, or a line is damaged.
    """
    try:
        lines = file.read_bytes()[:MOST_FILE_BYTES].decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        message = f"the users of the page cannot be read from {file} ({reason})"
        raise Misconfigured(message, advice="Add a user: segnode user NAME.") from exc
    users = dict(line.split(":", 1) for line in lines if ":" in line)
    for number, line in enumerate(lines, 1):
        name, _, password = line.partition(":")
        if not (USER.fullmatch(name) and re.fullmatch(r"scrypt:[\w+/=]+:[\w+/=]+", password)):
            message = f"{file}, line {number} is no user with a hashed password"
            raise Misconfigured(message, advice="Remove the line, then type: segnode user NAME.")
    return users


def _write(file: Path, users: dict[str, str]) -> None:
    text = "".join(f"{name}:{password}\n" for name, password in sorted(users.items()))
    durable.write(file, text.encode("ascii"))
    file.chmod(READABLE_BY_GROUP)


class Passwords:
    """Compares passwords with the file, which may change while the node runs."""

    def __init__(self, file: Path) -> None:
        """Read the file, to report an error at the start.

        Raises:
            Misconfigured: as `read_users`.
        """
        self._file = file
        self._key = os.urandom(HASH_BYTES)
        self._known: set[bytes] = set()  # of accepted passwords, so that scrypt runs once for each
        self._lock = threading.Lock()  # one comparison at a time: each needs 32 MiB
        self._users, self._mtime_ns = read_users(file), file.stat().st_mtime_ns

    def accepts(self, name: str, password: str) -> bool:
        """Return whether a user has this password; an unknown user takes as long."""
        with self._lock:
            self._refresh()
            digest = hmac.digest(self._key, f"{name}\0{password}".encode(), "sha256")
            if digest in self._known:
                return True
            expected = self._users.get(name, _ABSENT)
            _, salt, _ = expected.split(":")
            is_same = hmac.compare_digest(
                hashed(password[:MOST_PASSWORD], base64.b64decode(salt)), expected
            )
            if is_same:
                self._known.add(digest)
            return is_same

    def _refresh(self) -> None:
        mtime_ns = self._file.stat().st_mtime_ns if self._file.exists() else 0
        if mtime_ns != self._mtime_ns:
            self._known.clear()
            self._users, self._mtime_ns = read_users(self._file), mtime_ns

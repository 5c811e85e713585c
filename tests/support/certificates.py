"""Authorities, certificates and keys for TLS on loopback, and DCMTK with them."""

import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from node.config import TlsConfig
from tests.support.orthanc import free_port

HOST = "127.0.0.1"


@dataclass
class Party:
    """One peer: a separate or a shared authority, and the files of its certificate."""

    folder: Path
    name: str
    authority: trustme.CA = field(default_factory=trustme.CA)
    ends: datetime | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.renew(self.ends)

    def renew(
        self,
        ends: datetime | None = None,
        begins: datetime | None = None,
        names: tuple[str, ...] = (),
    ) -> None:
        """Write a new key and certificate."""
        issued = self.authority.issue_cert(
            *(names or (self.name, HOST)),
            common_name=self.name,
            not_before=begins or datetime(2020, 1, 1, tzinfo=UTC),
            not_after=ends,
        )
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        self.certificate.write_bytes(chain)
        self.key.touch(mode=0o600)
        self.key.write_bytes(issued.private_key_pem.bytes())

    def renew_for_servers(self) -> None:
        """Write a new certificate with which nobody may call, of the same key."""
        authority, files = self.folder / "authority.pem", [self.folder / "a.csr", self.folder / "e"]
        authority.write_bytes(self.authority.private_key_pem.bytes())
        with authority.open("ab") as file:
            file.write(self.authority.cert_pem.bytes())
        files[1].write_text("extendedKeyUsage=serverAuth\n")
        request = ["req", "-new", "-key", self.key, "-subj", f"/CN={self.name}", "-out", files[0]]
        sign = ["x509", "-req", "-in", files[0], "-CA", authority, "-extfile", files[1]]
        for command in (request, [*sign, "-CAcreateserial", "-out", self.certificate]):
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)

    def trusts(self, *others: "Party") -> "Party":
        """Write the authorities whose certificates this peer accepts."""
        self.trust.write_bytes(b"".join(o.authority.cert_pem.bytes() for o in others))
        return self

    def config(self, **choices: Any) -> TlsConfig:
        """Return the section `tls` of a node."""
        return TlsConfig(
            certificate=self.certificate,
            key=self.key,
            trust=self.trust,
            **{"port": free_port(), **choices},
        )

    def dcmtk(self, *, accepts_any: bool = False) -> list[str]:
        """Return the options of DCMTK's tools."""
        own = ["+tls", str(self.key), str(self.certificate)]
        return [*own, *(["-ic"] if accepts_any else ["+cf", str(self.trust)])]

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}.key"

    @property
    def trust(self) -> Path:
        return self.folder / f"{self.name}-trust.pem"


def days(count: float) -> datetime:
    """Return a moment that many days from now."""
    return datetime.fromtimestamp(time.time() + 86400 * count, UTC)


def pair(folder: Path, other: str = "MODALITY") -> tuple[Party, Party]:
    """Return the node and another peer, which trust each other's authorities."""
    node, peer = Party(folder, "segnode"), Party(folder, other)
    return node.trusts(peer), peer.trusts(node)

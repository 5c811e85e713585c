"""The files of `tls`: what is refused, when certificates end, and files that change."""

import os
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from node.config import CertificateName, PageConfig, TlsConfig
from node.errors import ExposedKey, KeyMismatch, Misconfigured, UnusableCertificate
from node.tls import Credentials, page_lifetime
from node.tls.certificates import read_certificates
from tests.support.certificates import Party, days, pair

NOW = time.time()


@pytest.fixture
def node(tmp_path: Path) -> Party:
    return pair(tmp_path)[0]


def refusal(config: TlsConfig) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        Credentials(config)
    assert caught.value.advice
    return caught.value


def test_the_key_of_another_certificate_is_refused(node: Party, tmp_path: Path) -> None:
    node.key.write_bytes(Party(tmp_path, "other").key.read_bytes())
    assert type(refusal(node.config())) is KeyMismatch


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_that_others_may_read_is_refused(node: Party, mode: int) -> None:
    node.key.chmod(mode)
    error = refusal(node.config())
    assert type(error) is ExposedKey
    assert f"chmod 600 {node.key}" in error.advice


def test_a_key_with_a_password_is_refused(node: Party) -> None:
    locked = node.folder / "locked.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(node.key), "-out", str(locked)]
    subprocess.run([*command, "-passout", "pass:secret"], check=True, capture_output=True)
    locked.rename(node.key)
    error = refusal(node.config())
    assert type(error) is UnusableCertificate
    assert "password" in error.message


@pytest.mark.parametrize("file", ["certificate", "key", "trust"])
@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
)
def test_an_absent_or_damaged_file_is_named(node: Party, file: str, content: bytes | None) -> None:
    path: Path = getattr(node, file)
    path.unlink()
    if content is not None:
        path.touch(mode=0o600)
        path.write_bytes(content)
    error = refusal(node.config())
    assert type(error) is UnusableCertificate
    assert str(path) in error.message
    assert f"tls.{file}" in error.message


def test_the_end_is_read_as_openssl_reads_it(tmp_path: Path) -> None:
    for year in (2027, 2049, 2050, 2051):  # UTCTime, then GeneralizedTime
        path = tmp_path / f"{year}.pem"
        party = Party(tmp_path, str(year), ends=days(365 * (year - 2026)))
        path.write_bytes(party.certificate.read_bytes())
        command = ["openssl", "x509", "-noout", "-enddate", "-fingerprint", "-sha256", "-in"]
        printed = subprocess.run([*command, path], capture_output=True, text=True, check=True)
        ends, fingerprint = printed.stdout.splitlines()
        certificate = read_certificates(path.read_text())[0]
        assert certificate.ends_at == ssl.cert_time_to_seconds(ends.removeprefix("notAfter="))
        assert CertificateName.parse(fingerprint) == certificate.fingerprint


@pytest.mark.parametrize(
    ("left_days", "is_ending", "is_over"), [(31, False, False), (29, True, False), (-1, True, True)]
)
def test_the_end_of_a_certificate_is_near_within_warn_before(
    tmp_path: Path, left_days: int, is_ending: bool, is_over: bool
) -> None:
    node, _ = pair(tmp_path)
    node.renew(days(left_days))
    own, trusted = Credentials(node.config()).lifetimes(NOW)
    assert (own.is_ending, own.is_over) == (is_ending, is_over)
    assert not trusted.is_ending


@pytest.mark.parametrize(
    ("left_days", "is_ending", "is_over"), [(31, False, False), (29, True, False), (-1, True, True)]
)
def test_the_end_of_the_certificate_of_the_page_is_watched(
    tmp_path: Path, left_days: int, is_ending: bool, is_over: bool
) -> None:
    node, _ = pair(tmp_path)
    node.renew(days(left_days))
    page = PageConfig(certificate=node.certificate, key=node.key)
    found = page_lifetime(page, NOW, 30 * 86400.0)
    assert found is not None
    assert (found.is_ending, found.is_over) == (is_ending, is_over)
    assert (found.name, "restart" in found.advice) == ("certificate of the page", True)


def test_a_page_without_a_certificate_has_no_end(tmp_path: Path) -> None:
    assert page_lifetime(PageConfig(), NOW, 1.0) is None
    absent = tmp_path / "absent.pem"
    assert page_lifetime(PageConfig(enabled=False, certificate=absent), NOW, 1.0) is None
    with pytest.raises(UnusableCertificate, match=r"page\.certificate"):
        page_lifetime(PageConfig(certificate=absent), NOW, 1.0)


def test_changed_files_are_used_and_broken_ones_are_not(
    node: Party, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = Credentials(node.config())
    before, context = credentials.fingerprint, credentials.server
    assert credentials.server is context
    key = node.key.read_bytes()
    node.renew()
    renewed = node.key.read_bytes()
    node.key.write_bytes(key)  # as between two steps of a renewal
    assert credentials.fingerprint == before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert credentials.fingerprint == before
    assert len(caplog.records) == 1, "one line per change"
    node.key.write_bytes(renewed)
    os.utime(node.key, ns=(1, 1))
    assert credentials.fingerprint != before
    assert credentials.server is not context


def test_a_file_that_vanishes_changes_nothing(node: Party) -> None:
    credentials = Credentials(node.config())
    before = credentials.fingerprint
    node.trust.unlink()
    assert credentials.fingerprint == before


def test_the_end_is_logged_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node, _ = pair(tmp_path)
    node.renew(days(10))
    credentials = Credentials(node.config())
    for _ in range(3):
        credentials.warn(NOW)
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["code"]) == ("WARNING", "certificate-ends")


@pytest.mark.parametrize("profile", ["bcp195", "bcp195-modified"])
def test_a_profile_allows_no_other_cipher_suites(node: Party, profile: str) -> None:
    context = Credentials(node.config(profile=profile)).server
    names = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"}
    sizes = ("128-GCM-SHA256", "256-GCM-SHA384")
    assert {f"ECDHE-{key}-AES{size}" for key in ("RSA", "ECDSA") for size in sizes} <= names
    assert all(name.startswith("ECDHE-") for name in names), "forward secrecy"
    assert not [name for name in names if name.endswith("-SHA")], "no CBC with SHA-1"
    assert ("ECDHE-RSA-CHACHA20-POLY1305" in names) is (profile == "bcp195-modified")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED

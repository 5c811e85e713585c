"""The base classes, and the errors that do not concern the suitability of a series."""

from typing import ClassVar


class NodeError(Exception):
    """Base class of all errors that the node raises on purpose."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Store `message` (what is wrong) and `advice` (what to do next) separately."""
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        """Return the message, followed by the advice if there is one."""
        return f"{self.message}. {self.advice}" if self.advice else self.message


class Misconfigured(NodeError):
    """The configuration or the host cannot work as written."""

    code = "misconfigured"


class DatabaseDamaged(Misconfigured):
    """The content of the database is damaged."""

    code = "database-damaged"


class UnusableCertificate(Misconfigured):
    """A file of the section `tls` cannot be read, or holds no certificate or key."""

    code = "unusable-certificate"


class KeyMismatch(Misconfigured):
    """The private key does not belong to the certificate."""

    code = "key-mismatch"


class ExposedKey(Misconfigured):
    """Other users of this machine may read the private key."""

    code = "exposed-key"


class BadPackage(Misconfigured):
    """A model package is incomplete, altered, or does not reproduce its reference case."""

    code = "bad-package"


class NotFound(NodeError):
    """The requested study or job is not known."""

    code = "nothing-found"


class NotRunning(NodeError):
    """The command needs a running node, and none runs."""

    code = "not-running"


class Retracted(NodeError):
    """A person retracted the result."""

    code = "retracted"


class Superseded(NodeError):
    """A newer job or result of the same series replaces this one."""

    code = "superseded"


class Cancelled(NodeError):
    """An operator cancelled the job."""

    code = "cancelled"


class Transient(NodeError):
    """A later attempt may work."""

    code = "transient"


class PeerUnreachable(Transient):
    """No association could be opened."""

    code = "peer-unreachable"


class TlsFailed(PeerUnreachable):
    """No TLS version or cipher suite in common, or the handshake failed otherwise."""

    code = "tls-failed"


class NoTls(PeerUnreachable):
    """The peer does not answer as TLS does: it probably expects DICOM without TLS."""

    code = "no-tls"


class TlsRequired(PeerUnreachable):
    """The peer answered DICOM without TLS with a TLS alert."""

    code = "tls-required"


class CertificateExpired(PeerUnreachable):
    """The certificate of the peer has ended, or is not valid yet."""

    code = "certificate-expired"


class UnknownAuthority(PeerUnreachable):
    """The certificate of the peer comes from no authority in `tls.trust`."""

    code = "unknown-authority"


class WrongCertificate(PeerUnreachable):
    """The peer presented no certificate, one of another name, or one for another purpose."""

    code = "wrong-certificate"


class CertificateRefused(PeerUnreachable):
    """The peer does not accept the certificate of this node."""

    code = "certificate-refused"


class NoResponse(Transient):
    """The peer closed the connection before it answered."""

    code = "no-response"


class PeerBusy(Transient):
    """The peer answered that it is temporarily out of resources."""

    code = "peer-busy"


class NotConfirmed(Transient):
    """The peer answered success, but no query or storage commitment confirms the object."""

    code = "not-confirmed"


class DiskLow(Transient):
    """Less free space than `data.stop_accepting_below`."""

    code = "disk-low"


class DiskFault(Transient):
    """A file of the node cannot be read or written: the disk fails, or access is denied."""

    code = "disk-fault"


class DatabaseBusy(Transient):
    """The database is locked for too long, or its server does not answer."""

    code = "database-busy"


class LeaseLost(Transient):
    """The lease ran out, and another worker may have claimed the job."""

    code = "lease-lost"


class RefusedByTarget(NodeError):
    """The target rejects the object for good; a later attempt does not help."""

    code = "refused-by-target"


class Defect(NodeError):
    """A bug, or a check that detected one: needs a person."""

    code = "defect"


class ChildKilled(Defect):
    """A signal killed the process that ran the model."""

    code = "child-killed"


class ReaderKilled(Defect):
    """The images of a series killed the process that reads them."""

    code = "reader-killed"


class TimedOut(Defect):
    """The model ran longer than `limits.time`."""

    code = "timed-out"


class OutOfMemory(Defect):
    """The model needed more than `limits.memory`."""

    code = "out-of-memory"


class VerificationFailed(Defect):
    """The finished SEG does not decode to the computed labels."""

    code = "verification-failed"

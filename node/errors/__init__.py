"""All errors that the node raises on purpose; the class decides what happens to the job.

Promises: each error has a stable `code`, a message without patient data and, where a person can
act on it, an `advice` with the next step.
Leaves to `node.queue.settle`: the transition that follows.

    NodeError
    ├── Misconfigured     the node does not start; exit status 78
    │   ├── BadPackage    a model package that cannot be trusted
    │   ├── UnusableCertificate, KeyMismatch, ExposedKey
    │   └── DatabaseDamaged
    ├── Unsuitable        the model cannot segment this series   -> unsuitable
    ├── Superseded        a newer job or result replaces this    -> superseded
    ├── Cancelled         an operator cancelled the job          -> cancelled
    ├── Transient         a later attempt may work               -> queued again, with back-off
    ├── RefusedByTarget   the target rejects the object for good -> failed
    └── Defect            a bug, a killed child, a failed check  -> failed
"""

from node.errors.base import (
    BadPackage,
    Cancelled,
    CertificateExpired,
    CertificateRefused,
    ChildKilled,
    DatabaseBusy,
    DatabaseDamaged,
    Defect,
    DiskFault,
    DiskLow,
    ExposedKey,
    KeyMismatch,
    LeaseLost,
    Misconfigured,
    NodeError,
    NoResponse,
    NotConfirmed,
    NotFound,
    NoTls,
    NotRunning,
    OutOfMemory,
    PeerBusy,
    PeerUnreachable,
    ReaderKilled,
    RefusedByTarget,
    Retracted,
    Superseded,
    TimedOut,
    TlsFailed,
    TlsRequired,
    Transient,
    UnknownAuthority,
    UnusableCertificate,
    VerificationFailed,
    WrongCertificate,
)
from node.errors.unsuitable import (
    PARTS_ADVICE,
    VERSIONS_ADVICE,
    ColourImage,
    Conflicting,
    ConflictingPatients,
    DerivedInput,
    DuplicatePositions,
    EnhancedMultiFrame,
    FourDimensional,
    GantryTilt,
    ImplausibleResult,
    Localizer,
    MissingAttribute,
    MissingSlice,
    MixedOrientation,
    MixedUnits,
    NoFrameOfReference,
    NotAnImage,
    OutsideModelRange,
    OversizedImage,
    OversizedValue,
    ParametricMap,
    Projection,
    SecondaryCapture,
    Subtraction,
    ThickSlab,
    TooFewSlices,
    UndecodablePixels,
    UnevenSpacing,
    Unsuitable,
    UnsupportedPixels,
    UnusableRescale,
    WrongModality,
    WrongUnits,
)

__all__ = [
    "PARTS_ADVICE",
    "VERSIONS_ADVICE",
    "BadPackage",
    "Cancelled",
    "CertificateExpired",
    "CertificateRefused",
    "ChildKilled",
    "ColourImage",
    "Conflicting",
    "ConflictingPatients",
    "DatabaseBusy",
    "DatabaseDamaged",
    "Defect",
    "DerivedInput",
    "DiskFault",
    "DiskLow",
    "DuplicatePositions",
    "EnhancedMultiFrame",
    "ExposedKey",
    "FourDimensional",
    "GantryTilt",
    "ImplausibleResult",
    "KeyMismatch",
    "LeaseLost",
    "Localizer",
    "Misconfigured",
    "MissingAttribute",
    "MissingSlice",
    "MixedOrientation",
    "MixedUnits",
    "NoFrameOfReference",
    "NoResponse",
    "NoTls",
    "NodeError",
    "NotAnImage",
    "NotConfirmed",
    "NotFound",
    "NotRunning",
    "OutOfMemory",
    "OutsideModelRange",
    "OversizedImage",
    "OversizedValue",
    "ParametricMap",
    "PeerBusy",
    "PeerUnreachable",
    "Projection",
    "ReaderKilled",
    "RefusedByTarget",
    "Retracted",
    "SecondaryCapture",
    "Subtraction",
    "Superseded",
    "ThickSlab",
    "TimedOut",
    "TlsFailed",
    "TlsRequired",
    "TooFewSlices",
    "Transient",
    "UndecodablePixels",
    "UnevenSpacing",
    "UnknownAuthority",
    "Unsuitable",
    "UnsupportedPixels",
    "UnusableCertificate",
    "UnusableRescale",
    "VerificationFailed",
    "WrongCertificate",
    "WrongModality",
    "WrongUnits",
    "by_code",
    "rebuild",
]


def by_code() -> dict[str, type[NodeError]]:
    """Map every code to its class, for the documentation and for errors from a child process."""
    classes: dict[str, type[NodeError]] = {}
    pending: list[type[NodeError]] = [NodeError]
    while pending:
        kind = pending.pop()
        classes[kind.code] = kind
        pending.extend(kind.__subclasses__())
    return classes


def rebuild(code: str, message: str, advice: str = "") -> NodeError:
    """Build the error from its parts; an unknown code becomes a `Defect`."""
    return by_code().get(code, Defect)(message, advice=advice)

"""Explain why a TLS handshake failed, and what to do, from the exception of Python's ssl."""

import ssl

from node.errors import (
    CertificateExpired,
    CertificateRefused,
    NodeError,
    NoTls,
    TlsFailed,
    UnknownAuthority,
    WrongCertificate,
)

_Kind = type[NodeError]

# X509_V_ERR_… of OpenSSL -> error, message, advice
_VERIFICATION: dict[int, tuple[_Kind, str, str]] = {
    9: (
        CertificateExpired, "its certificate is not valid yet",
        "Compare the clocks of both machines.",
    ),
    10: (
        CertificateExpired, "its certificate has expired",
        "Let its administrator renew the certificate, or compare the clocks of both machines.",
    ),
    26: (
        WrongCertificate, "its certificate is not for this purpose (extended key usage)",
        "A certificate of DICOM peers must allow serverAuth, and clientAuth too for senders.",
    ),
    62: (
        WrongCertificate, "its certificate does not name the host",
        "Correct the host of this target, or write the name in the certificate, or its "
        "fingerprint, as `certificate` of the target.",
    ),
}  # fmt: skip
_VERIFICATION[64] = _VERIFICATION[62]  # the host is an address
_UNKNOWN = (2, 18, 19, 20, 21)  # no issuer, self-signed, or no chain to a trusted one
_TOO_WEAK = (66, 67, 68)  # a short key or SHA-1
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE")
_NOTHING_IN_COMMON = (
    "NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW",
    "NO_SUITABLE_SIGNATURE_ALGORITHM", "ALERT_PROTOCOL_VERSION", "ALERT_HANDSHAKE_FAILURE",
    "ALERT_INSUFFICIENT_SECURITY",
)  # fmt: skip
_REFUSALS = {  # end of the alert -> the peer's reason
    "ALERT_UNKNOWN_CA": "it does not know the authority of our certificate",
    "ALERT_CERTIFICATE_EXPIRED": "our certificate has expired",
    "ALERT_CERTIFICATE_REVOKED": "our certificate is revoked",
    "ALERT_CERTIFICATE_REQUIRED": "it requires another certificate",
    "ALERT_UNSUPPORTED_CERTIFICATE": "our certificate is not for this purpose, or of a wrong kind",
    "ALERT_BAD_CERTIFICATE": "it cannot accept our certificate",
    "ALERT_CERTIFICATE_UNKNOWN": "it cannot accept our certificate",
    "ALERT_ACCESS_DENIED": "our certificate has no access there",
    "ALERT_DECRYPT_ERROR": "it cannot verify our certificate",
}


def fault_of(error: Exception) -> NodeError:
    """Return the node's error for a failed handshake; its message does not name the peer."""
    match error:
        case NodeError():
            return error
        case ssl.SSLCertVerificationError():
            return _unverified(error)
        case TimeoutError():
            return _silent("it did not complete the TLS handshake in time")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return _silent("it closed the connection during the TLS handshake")
        case ssl.SSLError():
            return _failed((error.reason or type(error).__name__).upper())
        case _:
            return _silent("it closed the connection during the TLS handshake")


def _failed(reason: str) -> NodeError:
    """Return the error for a reason of OpenSSL, such as `TLSV1_ALERT_UNKNOWN_CA`."""
    for end, words in _REFUSALS.items():
        if reason.endswith(end):
            advice = "Register our authority or certificate there; `segnode check` shows ours."
            return CertificateRefused(f"it refused the certificate: {words}", advice=advice)
    if "DID_NOT_RETURN_A_CERTIFICATE" in reason:
        advice = "Give the peer a key and a certificate: both sides must present one."
        return WrongCertificate("it presented no certificate", advice=advice)
    if any(words in reason for words in _NOTHING_IN_COMMON):
        advice = "TLS 1.2 or 1.3 is required; docs/reference/conformance.md has the cipher suites."
        return TlsFailed(f"no TLS version or cipher suite in common ({reason})", advice=advice)
    if any(words in reason for words in _NOT_TLS):
        return _silent("its answer is not TLS")
    return TlsFailed(f"the TLS handshake failed ({reason})")


def _silent(message: str) -> NodeError:
    advice = "Compare ports: DICOM without TLS and with TLS use different ones."
    return NoTls(message, advice=advice)


def _unverified(error: ssl.SSLCertVerificationError) -> NodeError:
    code, words = error.verify_code, error.verify_message
    if code in _VERIFICATION:
        kind, message, advice = _VERIFICATION[code]
        return kind(message, advice=advice)
    if code in _UNKNOWN:
        message = "its certificate comes from an unknown authority"
        advice = "Append the certificate of that authority, or of the peer alone, to tls.trust."
        return UnknownAuthority(f"{message} ({words})", advice=advice)
    if code in _TOO_WEAK:
        advice = "It needs RSA keys of 2048 bits or more, or EC keys, and SHA-256 signatures."
        return WrongCertificate(f"its certificate is too weak ({words})", advice=advice)
    return WrongCertificate(f"its certificate is not acceptable ({words})")

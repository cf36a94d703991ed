"""A throw-away certificate authority, so that the stand-ins can speak TLS under the vendors' names.

ECDSA on P-256. The authority's private key lives in memory only and dies with the process; whoever is to trust it gets
the certificate as PEM text, and trusts nothing else. Serial numbers and validity are arguments; the keys themselves
come from the operating system through `cryptography`.
"""

import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.entropy import Entropy
from gateway.times import DAY_MS

__all__ = ["Authority", "client_context", "load_ca"]

_LIFETIME_MS: Final = 30 * DAY_MS
_BACKDATED: Final = timedelta(days=1)


class Authority:
    """A certificate authority and the means to issue server certificates.

    `now_ms` is the time the certificates are made for: the client checks them against the machine's own clock, so it
    should be that clock's time, also where the stand-ins themselves run on another one.
    """

    def __init__(self, *, now_ms: int, entropy: Entropy) -> None:
        self._entropy = entropy
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gateway sandbox authority")])
        builder = self._builder(name, name, self._key.public_key(), now_ms, _LIFETIME_MS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    def ca_pem(self) -> str:
        """The authority's certificate, which is all a client needs to trust it."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def write_ca(self, path: Path) -> None:
        """Write the authority's certificate as PEM."""
        path.write_text(self.ca_pem(), encoding="ascii")

    def server_context(self, hosts: Sequence[str], *, now_ms: int, lifetime_ms: int = _LIFETIME_MS) -> ssl.SSLContext:
        """A server's TLS context with one certificate for all `hosts`.

        The certificate begins a day before `now_ms` and ends `lifetime_ms` after it: a negative lifetime makes an
        expired one.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gateway sandbox")])
        builder = self._builder(name, self._certificate.subject, key.public_key(), now_ms, lifetime_ms)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory(prefix="gateway-sandbox-") as folder:  # load_cert_chain reads files only
            pem = Path(folder, "server.pem")
            pem.touch(mode=0o600)
            pem.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
            context.load_cert_chain(pem)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A client's TLS context that trusts this authority and no other."""
        return client_context(self.ca_pem())

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_ms: int, lifetime_ms: int
    ) -> x509.CertificateBuilder:
        now = datetime.fromtimestamp(now_ms // 1000, UTC)
        end = now + timedelta(milliseconds=lifetime_ms)
        serial = int.from_bytes(self._entropy.token_bytes(19)) | 1
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(min(now, end) - _BACKDATED)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(signer, critical=False)
        )


def client_context(ca_pem: str) -> ssl.SSLContext:
    """A client's TLS context that checks host names and trusts only the authority of `ca_pem`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem)
    return context


def load_ca(path: Path) -> ssl.SSLContext:
    """The client's TLS context for an authority whose certificate was written with `write_ca`."""
    return client_context(path.read_text(encoding="ascii"))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )

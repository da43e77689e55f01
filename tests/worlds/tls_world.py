"""A certificate that a test makes for a server on loopback, and the pin of its key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shuiqiao.client.connection import key_pin


def make_certificate(folder: Path, *, names: Sequence[str] = ()) -> bytes:
    """Write c.pem and k.pem, of a name and an address that no server here has; return the pin of the key.

    names: DNS names that the certificate has besides.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(ip_address("127.0.0.9"))
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other-name")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names), address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding
    (folder / "c.pem").write_bytes(made.public_bytes(form.PEM))
    (folder / "k.pem").touch(mode=0o600)
    (folder / "k.pem").write_bytes(
        key.private_bytes(form.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return key_pin(made.public_bytes(form.DER))

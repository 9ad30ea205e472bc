"""The keys that records of registered versions are signed and checked with: ed25519, as PEM."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from rm.errors import ConfigError
from rm.files import sha256_bytes


def private_key(pem: str, source: str) -> Ed25519PrivateKey:
    """Read a private key.

    Parameters
    ----------
    pem : str
        Text of the key; not encrypted.
    source : str
        Where it comes from, for the message.

    Raises
    ------
    ConfigError
        If it is something else. The message does not show the text.
    """
    try:
        key = load_pem_private_key(pem.encode("utf-8"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"{source}: expected a private ed25519 key in PEM without a password, as `openssl genpkey -algorithm "
            "ed25519` writes it"
        )
    return key


def public_key(pem: str, source: str) -> Ed25519PublicKey:
    """Read a public key, as `private_key` does."""
    try:
        key = load_pem_public_key(pem.encode("utf-8"))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(
            f"{source}: expected a public ed25519 key in PEM, as `openssl pkey -in PRIVATE -pubout` writes it"
        )
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of a public key's 32 bytes, in hex."""
    return sha256_bytes(key.public_bytes_raw())

"""Certificates as a public authority would issue them, made for one test; and as none should
(RFC 5280, RFC 6125, RFC 7590 section 3.4)."""

import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = datetime.timedelta(hours=1)
DAY = 24 * HOUR
# id-on-xmppAddr (RFC 6120 section 13.7.1.4).
XMPP_ADDRESS = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")
# id-on-dnsSRV (RFC 4985).
SRV_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7")


class Pair(NamedTuple):
    """PEM files: a certificate with the chain below its root, and its key."""

    certificate: Path
    key: Path


class Authority:
    """A root, whose certificate is in `file`, and an intermediate that issues.

    `crl` is the intermediate's list of revoked ones in PEM, which is anew after each `revoke`, and
    behind it the root's once the intermediate was revoked; certificates name `crl_address`, if
    there is one.
    """

    def __init__(self, directory, name="Authority of a test", crl_address=None):
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.crl_address = crl_address
        self.file = self.directory / "root.crt"
        self.crl = self.directory / "revoked.crl"
        self._revoked = []
        self._revoked_by_root = []
        self._root_key, self._key = _new_key(), _new_key()
        self._root_name, self._name = _named(name), _named(f"{name}: intermediate")
        root = _unsigned(self._root_name, self._root_key, self._root_name).add_extension(
            x509.BasicConstraints(ca=True, path_length=1), critical=True
        ).add_extension(_SIGNING, critical=True).sign(self._root_key, hashes.SHA256())
        self._intermediate = _unsigned(self._name, self._key, self._root_name).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).add_extension(_SIGNING, critical=True).sign(self._root_key, hashes.SHA256())
        self.file.write_bytes(_pem(root))
        self._write_crl()

    def issue(
        self, *domains, name=None, addresses=(), services=(), start=-HOUR, end=90 * DAY,
        usages=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), chain=True,
    ):
        """A certificate for DNS names (IDNA is applied), and for XMPP addresses and SRV names such
        as `_xmpp-server.example.org`; from `start` to `end`, both from now on; without its
        intermediate if `chain` is false."""
        key = _new_key()
        certificate = self._described(
            _unsigned(_named(_ascii(domains[0])), key, self._name, start, end),
            domains, addresses, services, usages
        ).sign(self._key, hashes.SHA256())
        return self._write(
            name or domains[0], key, certificate, *([self._intermediate] if chain else []))

    def expired(self, *domains, **options):
        return self.issue(*domains, start=-30 * DAY, end=-HOUR, **options)

    def self_signed(self, *domains, name=None):
        key = _new_key()
        own = _named(_ascii(domains[0]))
        certificate = self._described(
            _unsigned(own, key, own), domains, (), (), ()).sign(key, hashes.SHA256())
        return self._write(name or f"{domains[0]}.self-signed", key, certificate)

    def revoke(self, pair):
        """Puts a certificate on the list (RFC 5280 section 5)."""
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        self._revoked.append(_revoked(certificate))
        self._write_crl()

    def revoke_intermediate(self):
        """Puts the intermediate on the root's list, and with it all that it issued."""
        self._revoked_by_root.append(_revoked(self._intermediate))
        self._write_crl()

    def _described(self, builder, domains, addresses, services, usages):
        names = [x509.DNSName(_ascii(domain)) for domain in domains]
        names += [
            x509.OtherName(XMPP_ADDRESS, _text(0x0C, address)) for address in addresses]
        names += [x509.OtherName(SRV_NAME, _text(0x16, service)) for service in services]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if self.crl_address:
            point = x509.DistributionPoint(
                [x509.UniformResourceIdentifier(self.crl_address)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        return builder

    def _write(self, name, key, certificate, *chain):
        files = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        files[0].write_bytes(b"".join(map(_pem, (certificate, *chain))))
        files[1].write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        files[1].chmod(0o600)
        return Pair(*files)

    def _write_crl(self):
        lists = [_crl(self._name, self._key, self._revoked)]
        if self._revoked_by_root:
            lists.append(_crl(self._root_name, self._root_key, self._revoked_by_root))
        self.crl.write_bytes(b"".join(lists))


def _revoked(certificate):
    return x509.RevokedCertificateBuilder().serial_number(
        certificate.serial_number).revocation_date(_now() - HOUR).build()


def _crl(issuer, key, entries):
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(
        _now() - HOUR).next_update(_now() + DAY)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return _pem(builder.sign(key, hashes.SHA256()))


_SIGNING = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
    encipher_only=False, decipher_only=False)


def _new_key():
    return ec.generate_private_key(ec.SECP256R1())


def _named(name):
    # A common name has no more room (RFC 5280 appendix A.1).
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _unsigned(subject, key, issuer, start=-HOUR, end=90 * DAY):
    return x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(
        key.public_key()
    ).serial_number(x509.random_serial_number()).not_valid_before(
        _now() + start).not_valid_after(_now() + end)


def _pem(thing):
    return thing.public_bytes(serialization.Encoding.PEM)


def _text(tag, text):
    """A short string in DER."""
    data = text.encode()
    assert len(data) < 128, text
    return bytes([tag, len(data)]) + data


def _ascii(domain):
    return domain if domain.isascii() else domain.encode("idna").decode()


def _now():
    return datetime.datetime.now(datetime.timezone.utc)

"""A client on pyOpenSSL, which gives out what SCRAM binds to; Python's own ssl does not."""

import base64
import re

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from raw_client import RawClient
from scram import Scram

LARGEST_READ = 65_536


class OpenSSLSocket:
    """TLS by pyOpenSSL over a socket, with the two methods that `RawClient` uses."""

    def __init__(self, connection, server, version, name):
        self._connection = connection
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.load_verify_locations(str(server.authority))
        context.set_verify(SSL.VERIFY_PEER, lambda *arguments: bool(arguments[-1]))
        # Without a socket of its own it works on buffers, so that timeouts stay ours.
        self._tls = SSL.Connection(context, None)
        self._tls.set_tlsext_host_name(name.encode())
        self._tls.set_connect_state()
        self._run(self._tls.do_handshake)

    def export(self, context):
        """RFC 9266 section 2."""
        return self._tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, context)

    @property
    def server_end_point(self):
        """RFC 5929 section 4.1: the certificate under the hash of its signature, SHA-256 at
        least."""
        certificate = self._tls.get_peer_certificate().to_cryptography()
        algorithm = certificate.signature_hash_algorithm
        if algorithm.name in ("md5", "sha1"):
            algorithm = hashes.SHA256()
        return certificate.fingerprint(algorithm)

    def sendall(self, data):
        self._run(self._tls.sendall, data)

    def recv(self, count):
        try:
            return self._run(self._tls.recv, count)
        except (SSL.ZeroReturnError, EOFError):
            return b""

    def close(self):
        self._connection.close()

    def _run(self, operation, *arguments):
        while True:
            try:
                result = operation(*arguments)
                self._send_pending()
                return result
            except SSL.WantReadError:
                self._send_pending()
                received = self._connection.recv(LARGEST_READ)
                if not received:
                    raise EOFError("the connection has ended") from None
                self._tls.bio_write(received)

    def _send_pending(self):
        try:
            while True:
                self._connection.sendall(self._tls.bio_read(LARGEST_READ))
        except SSL.WantReadError:
            pass


class BoundClient(RawClient):
    """Logs in with SCRAM-…-PLUS."""

    @classmethod
    def over(cls, server, version):
        client = cls(server.ports["client_tls"])
        client.connection = OpenSSLSocket(client.connection, server, version, client.domain)
        client.open_stream()
        return client

    def scram(self, mechanism, person, gs2_header, binding=b"", password=None):
        """`success` or the condition of the failure (RFC 6120 section 6.4)."""
        exchange = Scram(mechanism, person.name, password or person.password, gs2_header, binding)
        self.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>"
            f"{base64.b64encode(exchange.first()).decode()}</auth>")
        kind, challenge = self._sasl_answer()
        if kind != "challenge":
            return challenge
        self.send(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
            f"{base64.b64encode(exchange.final(challenge)).decode()}</response>")
        kind, answer = self._sasl_answer()
        if kind != "success":
            return answer
        assert exchange.accepts(answer), "the server's signature is wrong"
        return kind

    def _sasl_answer(self):
        text = self.read_through(r"</(challenge|success|failure)>")
        if condition := re.search(r"<failure[^>]*><([a-z-]+)", text):
            return "failure", condition[1]
        kind, data = re.search(r"<(challenge|success)[^>]*>([^<]*)</", text).groups()
        return kind, base64.b64decode(data)

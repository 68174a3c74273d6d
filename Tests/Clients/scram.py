"""The client's side of SCRAM with channel binding, written from RFC 5802 and RFC 5929 to 9266."""

import base64
import hashlib
import hmac
import secrets


class Scram:
    """One authentication; the mechanism's name decides the hash."""

    def __init__(self, mechanism, username, password, gs2_header, binding=b""):
        self.hash = {"1": "sha1", "256": "sha256", "512": "sha512"}[mechanism.split("-")[2]]
        self.password = password.encode()
        self.gs2_header = gs2_header.encode()
        self.binding = binding
        self.nonce = secrets.token_urlsafe(18)
        self.first_bare = f"n={username},r={self.nonce}"
        self._server_signature = b""

    def first(self):
        """client-first-message (RFC 5802 section 7)."""
        return self.gs2_header + self.first_bare.encode()

    def final(self, challenge):
        """client-final-message for a server-first-message."""
        server_first = challenge.decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(self.nonce) and fields["r"] != self.nonce, fields
        salted = hashlib.pbkdf2_hmac(
            self.hash, self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        binding = base64.b64encode(self.gs2_header + self.binding).decode()
        without_proof = f"c={binding},r={fields['r']}"
        message = f"{self.first_bare},{server_first},{without_proof}".encode()
        client_key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self.hash, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self._server_signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def accepts(self, server_final):
        """Whether the server knows the keys too."""
        return server_final == b"v=" + base64.b64encode(self._server_signature)

    def _hmac(self, key, message):
        return hmac.digest(key, message, self.hash)

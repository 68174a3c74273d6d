"""Name servers on a network of namespaces: Debian's dnsmasq, and one that answers as nobody should.
"""

import contextlib
import ipaddress
import shutil
import socket
import struct
import subprocess
import threading

from kinglet import Log

PORT = 53


class NameServer:
    """dnsmasq: knows the records it was given, and that no others exist (NXDOMAIN)."""

    def __init__(self, host, port=PORT):
        self.host = host
        self.port = port
        self._lines = {}
        self._process = None
        self._configuration = host.network.directory / f"{host.name}.dnsmasq.conf"

    @staticmethod
    def is_installed():
        return shutil.which("dnsmasq") is not None

    # Records; each call replaces what the same call said of that name.

    def address(self, name, *addresses, lifetime=None):
        """A and AAAA (RFC 1035 section 3.4.1, RFC 3596 section 2.1)."""
        ending = [] if lifetime is None else [lifetime]
        self._put("address", name, "host-record", *addresses, *ending)

    def alias(self, name, target):
        """CNAME. dnsmasq wants the target to be one of its own names."""
        self._put("alias", name, "cname", target)

    def service(self, name, *targets):
        """SRV (RFC 2782): `(host, port)`, with a priority and a weight if wanted; none at all is
        the target ".", by which a service says that it is not there."""
        lines = [
            f"srv-host={_ascii(name)},{_ascii(target[0])},{','.join(map(str, target[1:]))}"
            for target in targets]
        self._lines["service", name] = lines or [f"srv-host={_ascii(name)}"]

    def domain(self, name, host, port=5269, direct_tls=None):
        """What an XMPP domain on that host publishes for other servers."""
        target = f"xmpp.{name}"
        self.address(target, host.address, host.address6)
        if port:
            self.service(f"_xmpp-server._tcp.{name}", (target, port))
        if direct_tls:
            self.service(f"_xmpps-server._tcp.{name}", (target, direct_tls))

    def forget(self, name):
        """All records of a name."""
        for key in [key for key in self._lines if key[1] == name]:
            del self._lines[key]

    def _put(self, kind, name, *parts):
        self._lines[kind, name] = [f"{parts[0]}={','.join(map(str, (_ascii(name), *parts[1:])))}"]

    # The program

    def start(self):
        settings = [
            "no-resolv", "no-hosts", "bind-interfaces", "log-queries", "cache-size=0",
            f"port={self.port}", f"listen-address={self.host.address}",
            f"listen-address={self.host.address6}", "local-ttl=60", "local=/#/"]
        lines = [line for lines in self._lines.values() for line in lines]
        self._configuration.write_text("\n".join([*settings, *lines, ""]))
        # As a daemon it would change its capabilities, and then not die with the test.
        self._process = subprocess.Popen(
            [*self.host.program, "dnsmasq", "--no-daemon", f"--conf-file={self._configuration}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.log = Log(self._process.stderr)
        self.log.line_with("started, version")
        return self

    def reload(self):
        """Answers from the records as they are now; takes some milliseconds."""
        self.stop()
        self.start()

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def asked(self, name):
        """How often it was asked for a name since it was started."""
        return sum(f"] {_ascii(name)} from " in line for line in self.log.text.splitlines())


# Types and codes of RFC 1035 section 3.2.2 and 4.1.1, RFC 3596, RFC 2782.
TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
# Says nothing, so that whoever asks has to give up by themselves.
SILENCE = "silence"
# Sends something that is no answer.
GARBAGE = "garbage"


class OddNameServer:
    """Answers over UDP from a table, whatever that says.

    `answers[name, type]`, or `answers[name]` for all types, is a list of records `(name, type,
    data)` or `(name, type, data, lifetime)`; or a code such as SERVFAIL; or SILENCE or GARBAGE.
    Data is an address, a name, or `(priority, weight, port, target)`. What is not in the table
    does not exist.
    """

    def __init__(self, host, port=PORT):
        self.host = host
        self.answers = {}
        self.questions = []
        self._socket = host.listen(socket.SOCK_DGRAM, port)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        # Wakes the thread, which closes the socket; that it has no peer does not matter.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def loop(self, *names):
        """Each of these names is an alias of the next, and the last of the first."""
        for name, target in zip(names, (*names[1:], names[0])):
            self.answers[name] = [(name, "CNAME", target)]

    def _serve(self):
        with self._socket:
            while True:
                try:
                    query, asker = self._socket.recvfrom(4096)
                except OSError:
                    return
                if not query:
                    return
                answer = self._answer(query)
                if answer:
                    self._socket.sendto(answer, asker)

    def _answer(self, query):
        name, end = _read_name(query, 12)
        number = struct.unpack_from("!H", query, end)[0]
        kind = next((key for key, value in TYPES.items() if value == number), str(number))
        self.questions.append((name, kind))
        found = self.answers.get((name, kind), self.answers.get(name, NXDOMAIN))
        if found == SILENCE:
            return None
        if found == GARBAGE:
            return query[:2] + b"\x81\x80" + b"\xff" * 40
        code, records = (found, []) if isinstance(found, int) else (0, found)
        # Authoritative, recursion desired and available.
        header = query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(records), 0, 0)
        return header + query[12:end + 4] + b"".join(_record(*record) for record in records)


def _record(name, kind, data, lifetime=60):
    if kind in ("A", "AAAA"):
        wire = ipaddress.ip_address(data).packed
    elif kind == "SRV":
        wire = struct.pack("!HHH", *data[:3]) + _name(data[3])
    else:
        wire = _name(data)
    return _name(name) + struct.pack("!HHIH", TYPES[kind], 1, lifetime, len(wire)) + wire


def _name(name):
    labels = [label.encode() for label in _ascii(name).split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _read_name(message, position):
    labels = []
    while message[position]:
        length = message[position]
        labels.append(message[position + 1:position + 1 + length].decode("ascii", "replace"))
        position += 1 + length
    return ".".join(labels).lower(), position + 1


def _ascii(name):
    """IDNA, label by label; what begins with an underscore is not for it."""
    return ".".join(
        label if label.isascii() else label.encode("idna").decode() for label in name.split("."))

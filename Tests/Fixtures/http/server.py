"""A server for the tests of HTTPClient: HTTP/1.1 by hand, HTTP/2 by the library h2.

The path says what it does. It prints the ports it listens on (plain, TLS, TLS without HTTP/2, TLS
with one stream at a time before the first answer), takes what comes until its standard input is
closed, and makes its certificate in the folder it is given.
"""

import json
import os
import queue
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hyperframe.frame

lock = threading.Lock()
counts = {"connections": 0, "open": 0, "peak": 0, "requests": 0, "streams": 0,
          "refused": 0}
once = set()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def count(name, step=1):
    with lock:
        counts[name] += step
        if name == "open":
            counts["peak"] = max(counts["peak"], counts["open"])


def is_first(name):
    """Whether nobody has asked for this name before."""
    with lock:
        if name in once:
            return False
        once.add(name)
        return True


def answer(path, body):
    """Status, further fields and body; None for no answer, an exception for none at all."""
    parts = urlsplit(path)
    options = {key: value[0] for key, value in parse_qs(parts.query).items()}
    match parts.path:
        case "/stats":
            with lock:
                return 200, [], json.dumps(counts).encode()
        case "/slow":
            time.sleep(float(options["seconds"]))
            return 200, [], b"slow"
        case "/never":
            return None
        case "/headers":
            return 200, [(f"x-more-{i}", "x" * 1000) for i in range(1000)], b""
        case "/large":
            return 200, [], b"x" * int(options["bytes"])
        case "/redirect":
            return 302, [("location", "/ok")], b"elsewhere"
        case "/gone":
            return 410, [("x-reason", "  gone ")], b'{"reason": "Unregistered"}'
        case "/echo":
            return 200, [], body
        case _:
            return 200, [], b"ok"


def read_request(stream, rest):
    while b"\r\n\r\n" not in rest:
        piece = stream.recv(65536)
        if not piece:
            return None
        rest += piece
    head, rest = rest.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    length = int(fields.get("content-length", 0))
    while len(rest) < length:
        rest += stream.recv(65536)
    return lines[0].split(" ")[1], rest[:length], rest[length:]


def serve_1(stream, rest):
    while (request := read_request(stream, rest)) is not None:
        path, body, rest = request
        if path != "/stats":
            count("requests")
        if path == "/garbage":
            return stream.sendall(b"\x00\x01 SSH-2.0 this is not HTTP\r\n\r\n")
        if path == "/drop":
            return None
        if path == "/drop-kept" and is_first("kept"):
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            time.sleep(0.05)
            return None
        if path == "/cut":
            return stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        result = answer(path, body)
        if result is None:
            while stream.recv(65536):
                pass
            return None
        status, fields, content = result
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in fields]
        if path == "/close":
            lines.append("Connection: close")
        stream.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        if path == "/close":
            return None
    return None


class Multiplexed:
    """A connection of HTTP/2. One thread alone touches it; those that make answers wake that one."""

    def __init__(self, stream, is_narrow=False):
        self.stream = stream
        self.is_narrow = is_narrow
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.is_busy = False
        self.refused = set()
        self.requests = {}
        self.answers = queue.SimpleQueue()
        self.bell, self.ringer = socket.socketpair()

    def flush(self):
        self.stream.sendall(self.connection.data_to_send())

    def advertise(self, streams):
        """Says how many streams there may be; h2 would end the connection for one too many."""
        frame = hyperframe.frame.SettingsFrame(0)
        frame.settings = {frame.MAX_CONCURRENT_STREAMS: streams}
        self.stream.sendall(frame.serialize())

    def serve(self, data):
        with self.bell, self.ringer:
            self.connection.initiate_connection()
            if self.is_narrow:
                self.flush()
                self.advertise(1)
            while data:
                for event in self.connection.receive_data(data):
                    self.take(event)
                self.flush()
                data = self.wait()

    def wait(self):
        """What comes next; answers that are ready in between are sent."""
        while True:
            is_pending = isinstance(self.stream, ssl.SSLSocket) and self.stream.pending()
            ready, _, _ = select.select([self.stream, self.bell], [], [], 0 if is_pending else 120)
            if self.bell in ready:
                for _ in self.bell.recv(4096):
                    self.answer(*self.answers.get())
            if is_pending or self.stream in ready:
                return self.stream.recv(65536)

    def take(self, event):
        number = getattr(event, "stream_id", None)
        if number in self.refused:
            return
        if isinstance(event, h2.events.RequestReceived):
            if self.is_narrow and self.is_busy:
                # Sent before our settings had arrived (RFC 9113 section 5.1.2).
                count("refused")
                self.refused.add(number)
                self.connection.reset_stream(number, h2.errors.ErrorCodes.REFUSED_STREAM)
                return
            self.is_busy = True
            self.requests[number] = (dict(event.headers)[":path"], bytearray())
        elif isinstance(event, h2.events.DataReceived):
            self.requests[number][1].extend(event.data)
            self.connection.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.StreamEnded):
            count("streams")
            path, body = self.requests.pop(number)
            threading.Thread(
                target=self.prepare, args=(number, path, bytes(body)), daemon=True).start()

    def prepare(self, number, path, body):
        self.answers.put((number, path, answer(path, body)))
        try:
            self.ringer.send(b".")
        except OSError:
            pass

    def answer(self, number, path, result):
        if path == "/vanish" or (path.startswith("/refuse") and is_first(path)):
            if path.startswith("/refuse"):
                # What came last was not looked at: it may be sent again (RFC 9113 section 6.8).
                self.connection.close_connection(last_stream_id=max(0, number - 2))
                self.flush()
            self.stream.shutdown(socket.SHUT_RDWR)
        elif path == "/rst":
            self.connection.reset_stream(number, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif result is not None:
            self.send(number, path, *result)
        self.flush()

    def send(self, number, path, status, fields, content):
        if self.is_narrow:
            self.is_narrow = False
            self.advertise(100)
        try:
            self.connection.send_headers(number, [(":status", str(status)), *fields])
            # No more than a client takes at first, which is enough to see what it does then.
            for start in range(0, min(len(content), 65535), 16384):
                self.connection.send_data(number, content[start:min(start + 16384, 65535)])
            if len(content) <= 65535:
                self.connection.end_stream(number)
        except (h2.exceptions.StreamClosedError, h2.exceptions.FlowControlError):
            return  # Nobody waits for it any more.
        if path == "/goaway":
            self.flush()
            self.connection.close_connection(last_stream_id=number)
            self.flush()
            self.stream.shutdown(socket.SHUT_RDWR)


def serve(connection, context, is_narrow):
    count("connections")
    count("open")
    try:
        connection.settimeout(120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            connection = context.wrap_socket(connection, server_side=True)
            data = b""
            if connection.selected_alpn_protocol() == "h2":
                return Multiplexed(connection, is_narrow).serve(connection.recv(65536))
        else:
            data = connection.recv(65536)
            if data.startswith(PREFACE[:16]):
                return Multiplexed(connection).serve(data)
        serve_1(connection, data)
    except (OSError, ValueError, h2.exceptions.ProtocolError):
        pass
    finally:
        connection.close()
        count("open", -1)
    return None


def listen(context, is_narrow=False):
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, context, is_narrow), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def secure(folder, protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
    context.set_alpn_protocols(protocols)
    return context


def main():
    folder = sys.argv[1]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", f"{folder}/server.key", "-out", f"{folder}/server.crt"],
        check=True, stderr=subprocess.DEVNULL)
    ports = [listen(None), listen(secure(folder, ["h2", "http/1.1"])),
             listen(secure(folder, ["http/1.1"])), listen(secure(folder, ["h2"]), is_narrow=True)]
    print(*ports, flush=True)
    sys.stdin.read()
    os._exit(0)


main()

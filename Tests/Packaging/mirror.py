"""Debian's archive in small: signed, served over HTTP, and faulty on request."""

import hashlib
import os
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Mirror:
    """Suites of packages that the test makes; for `with`."""

    def __init__(self, directory, gpg_home):
        self.directory, self._gpg_home = Path(directory), gpg_home
        self.directory.mkdir()
        # Names of packages whose files break off in the middle.
        self.cut = set()
        # Names of files that never end, and whether somebody waits for one.
        self.stuck = set()
        self.is_waited_for = threading.Event()
        self._ends = threading.Event()
        self.requests = []
        self._stanzas = {}
        self._moment = time.time() - 100_000

        class Handler(SimpleHTTPRequestHandler):
            def __init__(handler, *arguments):
                super().__init__(*arguments, directory=str(self.directory))

            def do_GET(handler):
                self.requests.append(handler.path)
                name = Path(handler.path).name
                if name.split("_")[0] in self.stuck:
                    self._get_stuck(handler)
                elif name.endswith(".deb") and name.split("_")[0] in self.cut:
                    self._break_off(handler)
                else:
                    super().do_GET()

            def log_message(handler, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._server.shutdown()
        self._server.server_close()

    def _break_off(self, handler):
        data = Path(handler.translate_path(handler.path)).read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:len(data) // 2])
        handler.close_connection = True

    def _get_stuck(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")
        self.is_waited_for.set()
        self._ends.wait()

    # What it has

    def add(self, suite, architecture, name, version="1.0", depends="", files=None):
        """A package; one that is there already is replaced."""
        root = self.directory / "build" / name
        for path, content in {"usr/share/doc/x": name, **(files or {})}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
        (root / "DEBIAN").mkdir(exist_ok=True)
        fields = {
            "Package": name, "Version": version, "Architecture": architecture,
            "Maintainer": "Nobody <nobody@example.test>", **({"Depends": depends} if depends else {}),
            "Description": "made by a test"}
        (root / "DEBIAN/control").write_text(
            "".join(f"{key}: {value}\n" for key, value in fields.items()))
        pool = self.directory / "pool" / suite
        pool.mkdir(parents=True, exist_ok=True)
        file = pool / f"{name}_{version}_{architecture}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, file],
            check=True, stdout=subprocess.DEVNULL)
        data = file.read_bytes()
        fields |= {
            "Filename": f"pool/{suite}/{file.name}", "Size": len(data),
            "SHA256": hashlib.sha256(data).hexdigest()}
        self._stanzas.setdefault(suite, {}).setdefault(architecture, {})[name] = fields
        self._publish(suite)

    def _publish(self, suite):
        """The suite's lists and their signature."""
        directory = self.directory / "dists" / suite
        lines = []
        for architecture, packages in self._stanzas[suite].items():
            lists = directory / f"main/binary-{architecture}"
            lists.mkdir(parents=True, exist_ok=True)
            text = "\n".join(
                "".join(f"{key}: {value}\n" for key, value in fields.items())
                for fields in packages.values()).encode()
            (lists / "Packages").write_bytes(text)
            lines.append(
                f" {hashlib.sha256(text).hexdigest()} {len(text)} main/binary-{architecture}/Packages")
        release = "\n".join([
            "Origin: Debian", f"Suite: {suite}", f"Codename: {suite}",
            f"Architectures: {' '.join(self._stanzas[suite])}", "Components: main",
            "Date: Sat, 21 Nov 2026 00:00:00 UTC", "SHA256:", *lines, ""])
        subprocess.run(
            ["gpg", "--homedir", self._gpg_home, "--batch", "--yes", "--quiet", "--clearsign",
             "--output", directory / "InRelease"], input=release.encode(), check=True)
        # Newer than what anybody has, to the second.
        self._moment += 10
        for file in (directory / "InRelease", *directory.rglob("Packages")):
            os.utime(file, (self._moment, self._moment))

    @staticmethod
    def make_key(directory):
        home = directory / "gpg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback",
               "--passphrase", ""]
        subprocess.run(
            [*gpg, "--quick-generate-key", "mirror@example.test", "rsa2048", "sign", "never"],
            check=True, stderr=subprocess.DEVNULL)
        keyring = directory / "keyring.gpg"
        subprocess.run([*gpg, "--output", keyring, "--export"], check=True)
        return home, keyring

"""The C programs: built once, then run against a server."""

import json
import os
import secrets
import subprocess
from pathlib import Path

from processes import BenchError, run

SOURCES = Path(__file__).resolve().parent


class Tools:
    """xmppload and floor. The users' password lives as long as this run."""

    def __init__(self, directory):
        self.xmppload = directory / "xmppload"
        self.floor = directory / "floor"
        self.password = secrets.token_hex(8)
        compiler = os.environ.get("CC", "cc")
        flags = ["-O2", "-g", "-std=gnu11", "-Wall", "-Wextra"]
        directory.mkdir(parents=True, exist_ok=True)
        run([compiler, *flags, "-o", self.xmppload, SOURCES / "xmppload.c",
             "-lssl", "-lcrypto", "-lm"])
        run([compiler, *flags, "-o", self.floor, SOURCES / "floor.c"])

    def forward(self, **options):
        """The figures of the C floor."""
        return json.loads(run([self.floor, *_options(options)]))

    def load(self, server, command, **options):
        """Runs an xmppload command to its end; returns its figures."""
        arguments = self._arguments(server, command, options)
        return json.loads(run(arguments, stdin=self.password + "\n",
                              timeout=options.get("timeout", 300) + 60))

    def begin(self, server, command, **options):
        """Starts an xmppload command and returns once its users are online; for `with`."""
        return Load(self._arguments(server, command, options), self.password)

    def _arguments(self, server, command, options):
        return [self.xmppload, command, "--port", server.port, "--domain", server.domain,
                "--pid", server.pid, "--password-stdin", "--json", *_options(options)]


class Load:
    """An xmppload command that runs."""

    def __init__(self, arguments, password):
        self._process = subprocess.Popen(
            [str(part) for part in arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self._process.stdin.write(password + "\n")
        self._process.stdin.close()
        self._process.stdin = None
        line = self._process.stderr.readline()
        if not line.endswith(" online\n"):
            self.kill()
            raise BenchError(line.strip() or "xmppload ended without a word")
        self.online = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Ends it with all its connections, at once; returns when it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def figures(self):
        output, errors = self._process.communicate(timeout=600)
        if self._process.returncode != 0:
            raise BenchError(f"xmppload: {errors.strip() or output.strip()}")
        return json.loads(output)


def _options(options):
    """True stands for an option without a value."""
    arguments = []
    for name, value in options.items():
        arguments.append("--" + name.replace("_", "-"))
        if value is not True:
            arguments.append(str(value))
    return arguments

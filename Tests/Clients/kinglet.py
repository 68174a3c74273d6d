"""The real program in a directory of its own: its commands, its log, its metrics."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from waiting import LONG, eventually

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KINGLET", REPOSITORY / ".build/debug/kinglet")).resolve()
FIXTURES = REPOSITORY / "Tests/Fixtures"

# The fewest PBKDF2 rounds that the server accepts: slixmpp stretches keys in Python.
FAST_KEYS = {"storage.scram_iterations": "4096"}
# Tests fail to log in on purpose, and all of them come from one address.
NO_LOGIN_DELAY = {"limits.login_delay": "0s"}


class Log:
    """What the server writes to stderr, line by line as it comes."""

    def __init__(self, stream):
        self._lines = []
        self._changed = threading.Condition()
        self._has_ended = False
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        for line in stream:
            with self._changed:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        stream.close()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    @property
    def text(self):
        with self._changed:
            return "\n".join(self._lines)

    @property
    def beginning(self):
        """Enough to see a cause; the report of a crash goes on for pages."""
        return "\n".join(self.text.splitlines()[:40])

    def line_with(self, part, timeout=LONG):
        """The first line that holds `part`, waiting for it if need be."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._lines:
                    if part in line:
                        return line
                left = end - time.monotonic()
                text = "\n".join(self._lines)
                assert not self._has_ended, f"the server ended without {part!r}:\n{text}"
                assert left > 0, f"not within {timeout:g} s: a log line with {part!r}:\n{text}"
                self._changed.wait(left)


class Kinglet:
    """A data directory with a configuration, and the server that may run on it."""

    # Where clients find it.
    address = "127.0.0.1"

    def __init__(self, directory, domains=("example.test",), settings=None):
        self.directory = Path(directory)
        self.domains = tuple(domains)
        self.settings = dict(settings or {})
        self.configuration = self.directory / "kinglet.yaml"
        self.data = self.directory / "data"
        self.process = None
        self.log = None
        self.ports = {}

    @property
    def domain(self):
        return self.domains[0]

    @property
    def authority(self):
        """The local authority's certificate, which clients are to trust."""
        return self.data / "ca.crt"

    # Commands

    def initialize(self):
        """`kinglet init`, without a terminal."""
        arguments = ["init", "--config", self.configuration, "--yes"]
        if len(self.domains) == 1:
            arguments += ["--domain", self.domain, "--data", self.data]
        else:
            # The authority vouches for the domains that it is made for: they have to be known.
            self.configuration.write_text(
                f"domains: [{', '.join(self.domains)}]\ndata_dir: {self.data}\n")
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        return done

    def command(self, *arguments, stdin="", check=True):
        """Runs a command on this configuration; `check` expects it to succeed."""
        done = run(*arguments, *self._common, stdin=stdin)
        if check:
            assert done.returncode == 0, f"kinglet {arguments}: {done.stdout}{done.stderr}"
        return done

    def json(self, *arguments):
        """The document that a command prints with `--json`."""
        return json.loads(self.command(*arguments, "--json").stdout)

    def add_user(self, jid, password):
        return self.command("user", "add", jid, "--password-stdin", stdin=password + "\n")

    @property
    def _common(self):
        sets = [
            part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        return ["--config", self.configuration, *sets]

    # The server

    def start(self, isolated=True, wait=True, program=(), environment=None):
        """Starts the server and, with `wait`, returns when it is ready."""
        arguments = [*program, BINARY, "serve", *self._common]
        if isolated:
            arguments.append("--isolated")
        self.process = subprocess.Popen(
            [str(part) for part in arguments], cwd=self.directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})})
        self.log = Log(self.process.stderr)
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self):
        ready = self.log.line_with("msg=ready")
        self.ports = {
            name: int(port) for name, port in re.findall(r"(\w+)=(\d+)(?=[ \"]|$)", ready)}
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=10):
        """The exit status, which has to come in time."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still runs after {timeout:g} s:\n{self.log.text}") from None
        self.process = None
        return status

    def stop(self):
        """SIGTERM and a clean end. A server that has ended unasked is a failure."""
        if self.process is None:
            return
        process = self.process
        ended = process.poll()
        self.process = process if ended is None else None
        assert ended is None, f"the server ended with status {ended}:\n{self.log.beginning}"
        try:
            self.signal(signal.SIGTERM)
            assert self.wait() == 0, self.log.text
        finally:
            process.kill()
            process.wait()

    def crash(self):
        """`kill -9`."""
        self.process.kill()
        self.process.wait()
        self.process = None

    # Metrics

    def get(self, path, accept=None):
        """Status, headers and text of a page of the metrics endpoint."""
        request = urllib.request.Request(f"http://{self.address}:{self.ports['metrics']}{path}")
        if accept:
            request.add_header("Accept", accept)
        try:
            with urllib.request.urlopen(request, timeout=LONG) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read().decode()
        except OSError as error:
            raise AssertionError(
                f"no metrics ({error}); the server's log:\n{self.log.beginning}") from None

    def samples(self):
        status, _, text = self.get("/metrics")
        assert status == 200, text
        return [
            sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        values = [
            sample.value for sample in self.samples()
            if sample.name == name and labels.items() <= sample.labels.items()]
        assert values, f"no series of {name} with {labels}"
        return sum(values)

    def refusals(self, reason):
        return self.metric("kinglet_refusals_total", reason=reason)

    def becomes(self, expected, name, **labels):
        """Waits until a metric has a value."""
        eventually(
            lambda: self.metric(name, **labels) == expected,
            lambda: f"{name}{labels} is {expected}; it is {self.metric(name, **labels)}")


def run(*arguments, stdin="", cwd=None, timeout=60, program=()):
    """Runs a command of the program to its end."""
    return subprocess.run(
        [str(part) for part in (*program, BINARY, *arguments)], input=stdin, cwd=cwd,
        capture_output=True, text=True, timeout=timeout)


def one_line(done):
    """The one line on stderr of a command that failed."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    return done.stderr

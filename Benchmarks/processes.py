"""Processes of our own: started without a shell, watched through /proc, ended by their id."""

import resource
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


class BenchError(Exception):
    """What stops the benchmark, in one line."""


class Skipped(Exception):
    """Why something is not measured, though nothing went wrong."""


def raise_descriptor_limit():
    """Ten thousand connections need as many descriptors, here and in the servers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    """A loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(arguments, stdin="", timeout=600, **options):
    """Runs a program to its end and returns its standard output."""
    done = subprocess.run(
        [str(part) for part in arguments], input=stdin, capture_output=True, text=True,
        timeout=timeout, **options)
    if done.returncode != 0:
        text = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise BenchError(f"{Path(str(arguments[0])).name} failed ({done.returncode}): {text}")
    return done.stdout


@dataclass
class Memory:
    """Of one process, in KB."""

    resident: int
    anonymous: int


def memory(pid):
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            fields[name] = int(rest.split()[0])
    return Memory(fields["Rss"], fields["Anonymous"])


class Daemon:
    """A server in the foreground, with its output in a file."""

    def __init__(self, arguments, log, environment=None, directory=None):
        self.log = log
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in arguments], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=environment, cwd=directory)

    @property
    def pid(self):
        return self._process.pid

    def await_stream(self, port, domain, limit=60):
        """Returns once a client that opens a stream is answered."""
        header = (
            f"<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' "
            "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>").encode()
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(header)
                    if connection.recv(1):
                        return
            except OSError:
                time.sleep(0.002)
        text = Path(self.log).read_text(errors="replace")[-2000:]
        raise BenchError(f"no answer from {self._process.args[0]}: {text}")

    def stop(self, limit=60):
        self._process.terminate()
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

#!/usr/bin/env python3
"""Counts the instructions of a Pi's processor that logins, messages and deliveries take.

Kinglet, ejabberd and Prosody run as arm64 programs under QEMU's user-mode emulation, with a plugin
that counts. Numbers of instructions are the same on every machine and in every run but for a few per
cent; how long a chip takes for one is not in them, nor what the kernel does.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import servers
from client import Client
from processes import BenchError, run
from tools import Tools

SOURCES = Path(__file__).resolve().parent
MECHANISM = "SCRAM-SHA-256"
USERS = 64
LOGINS = 50
MESSAGES = 400
# A message for several resources is one that comes in and so many that go out.
RESOURCES = (1, 9)
# Long enough for what a server puts off to be seen.
SETTLED_SECONDS = 3


class Emulated:
    """Programs of this machine's name that run a Pi's in the counting emulator."""

    def __init__(self, directory, trees):
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.counts = directory / "counts"
        self.trees = trees
        plugin = directory / "count.so"
        run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden",
             "-o", plugin, SOURCES / "instructions/count.c"])
        self._plugin = f"{plugin},counts={self.counts}"

    def program(self, name, tree, *arguments, before=""):
        """Makes a program of a tree, with its first arguments."""
        command = ["qemu-aarch64", "-cpu", "cortex-a72", "-plugin", self._plugin, "-L", tree,
                   *arguments]
        path = self.bin / name
        path.write_text(
            f"#!/bin/sh\n{before}exec {shlex.join(str(part) for part in command)} \"$@\"\n")
        path.chmod(0o755)
        return path

    def instructions(self):
        """So many until now, by all threads."""
        data = self.counts.read_bytes()
        return sum(
            int.from_bytes(data[at:at + 8], "little") for at in range(0, len(data), 64))

    def count(self, work):
        """Instructions that a piece of work takes, to its end and without what the server does when
        nobody asks for anything."""
        self._settle()
        idle = self._per_second()
        before = self.instructions()
        begun = time.monotonic()
        work()
        self._settle()
        return self.instructions() - before - idle * (time.monotonic() - begun)

    def _per_second(self):
        begun, before = time.monotonic(), self.instructions()
        time.sleep(SETTLED_SECONDS)
        return (self.instructions() - before) / (time.monotonic() - begun)

    def _settle(self):
        """Waits until the server does no more than it did before."""
        last = self._per_second()
        while (now := self._per_second()) < 0.9 * last:
            last = now


def install(emulated, kinglet):
    """The three servers, by the names that they are started with."""
    rivals = emulated.trees["rivals"]
    servers.Kinglet.binary = emulated.program("kinglet", emulated.trees["debian12"], kinglet)
    emulated.program("prosody", rivals, rivals / "usr/bin/lua5.4", rivals / "usr/bin/prosody")
    erlang = rivals / "usr/lib/erlang"
    (machine,) = erlang.glob("erts-*/bin/beam.smp")
    helpers = emulated.bin / "erlang"
    helpers.mkdir()
    for helper in ("erl_child_setup", "inet_gethost"):
        emulated.program(f"erlang/{helper}", rivals, machine.parent / helper)
    # For perf, its compiler writes machine code where it runs. Otherwise it writes by another address
    # and tells the chip, which this emulator takes no notice of.
    emulated.program("erlang/beam.smp", rivals, machine, "-JPperf", "true")
    emulated.program(
        "erl", rivals, machine.parent / "erlexec",
        before=f"export BINDIR={helpers} ROOTDIR={erlang} EMU=beam PROGNAME=erl\n")
    # Asked for where the modules are.
    script = (rivals / "usr/sbin/ejabberdctl").read_text()
    (emulated.bin / "ejabberdctl").write_text(script.replace("/usr/lib/", f"{rivals}/usr/lib/"))
    (emulated.bin / "ejabberdctl").chmod(0o755)
    os.environ["PATH"] = f"{emulated.bin}:{os.environ['PATH']}"


def measure(kind, emulated, tools, directory, certificate, key):
    """Instructions by what they were for."""
    emulated.counts.unlink(missing_ok=True)
    server = kind(directory, certificate, key)
    server.seed(USERS, tools)
    figures = {}
    emulated.counts.unlink(missing_ok=True)
    with server.running():
        tools.load(server, "login", users=LOGINS, tls="starttls", sasl=MECHANISM, settle=0)

        for link, tls in (("plain", "none"), ("TLS", "starttls")):
            figures[f"login, {link}"] = emulated.count(
                lambda tls=tls: tools.load(
                    server, "login", users=LOGINS, tls=tls, sasl=MECHANISM, settle=0,
                    concurrency=4)) / LOGINS
        costs = [deliver(server, tools.password, count, emulated) for count in RESOURCES]
        figures["message that is delivered"] = costs[0]
        figures["delivery more"] = (costs[1] - costs[0]) / (RESOURCES[1] - RESOURCES[0])
    return figures


def deliver(server, password, resources, emulated):
    """Instructions per headline for somebody with so many resources (RFC 6121 section 8.5.2.1.1: all
    of them get it)."""
    message = (f"<message type='headline' to='u1@{server.domain}'><body>" + "x" * 100
               + "</body></message>")
    with contextlib.ExitStack() as clients:
        sender = clients.enter_context(Client.bound(server.port, "u0", password))
        receivers = []
        for number in range(resources):
            receiver = clients.enter_context(
                Client.authenticated(server.port, "u1", password))
            receiver.bind(f"r{number}")
            receiver.send("<presence/>")
            receivers.append(receiver)
        for receiver in receivers:
            receiver.drain()

        def exchange(count):
            for _ in range(count):
                sender.send(message)
                for receiver in receivers:
                    receiver.read_through("</message>")
        exchange(MESSAGES // 4)
        used = emulated.count(lambda: exchange(MESSAGES))
        for client in (sender, *receivers):
            client.end()
    return used / MESSAGES


def make_certificate(directory):
    certificate, key = directory / "cert.pem", directory / "key.pem"
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={servers.DOMAIN}", "-keyout", key, "-out", certificate])
    return certificate, key


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, required=True, help="the program for arm64")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=DIRECTORY",
                        help="debian12 and rivals: unpacked arm64 systems")
    parser.add_argument("--servers", default="kinglet,ejabberd-tuned,prosody")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not shutil.which("qemu-aarch64"):
        sys.exit("There is no qemu-aarch64: apt-get install --no-install-recommends qemu-user")
    if "-plugin" not in run(["qemu-aarch64", "--help"]):
        sys.exit("This qemu-aarch64 takes no plugins, which Debian 12's does.")
    kinds = {kind.name: kind for kind in servers.ALL}
    with tempfile.TemporaryDirectory(prefix="kinglet-instructions.") as temporary:
        directory = Path(temporary)
        trees = {name: Path(path) for name, path in (tree.split("=", 1) for tree in arguments.tree)}
        emulated = Emulated(directory, trees)
        install(emulated, arguments.kinglet)
        tools = Tools(directory / "tools")
        certificate, key = make_certificate(directory)
        results = {}
        for name in arguments.servers.split(","):
            try:
                results[name] = measure(
                    kinds[name], emulated, tools, directory / name, certificate, key)
            except (BenchError, subprocess.SubprocessError) as error:
                sys.exit(f"{name}: {error}")
            print(f"{name} is measured", file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps(results))
        return
    print("| thousand instructions per | " + " | ".join(results) + " |")
    print("| --- " * (len(results) + 1) + "|")
    for row in next(iter(results.values())):
        values = " | ".join(f"{results[name][row] / 1000:,.0f}" for name in results)
        print(f"| {row} | {values} |")


if __name__ == "__main__":
    main()

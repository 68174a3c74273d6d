"""A network of its own: hosts in network namespaces on one switch, with public addresses.

No namespace has a name or a file: they are held by descriptors of this process, and what runs in
them dies with it (PR_SET_PDEATHSIG). So nothing is left behind, whatever ends a test, and several
runs live side by side with the same addresses, which are those for documentation (RFC 5737,
RFC 3849).
"""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

from cable import Cable

CLONE_NEWNET = 0x40000000
# Where the network's name server is to be.
NAME_SERVER = 53
# Two hosts do not hear of each other; their addresses can still be resolved, as beyond a router.
RULES = """
table bridge cuts {
    set pairs { type ifname . ifname; }
    set pairs4 { type ifname . ifname; }
    set pairs6 { type ifname . ifname; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        ether type { ip, ip6 } iifname . oifname @pairs drop
        ether type ip iifname . oifname @pairs4 drop
        ether type ip6 iifname . oifname @pairs6 drop
    }
}
"""

_libc = ctypes.CDLL(None, use_errno=True)


class NetworkRefused(Exception):
    """There can be no namespaces here, and why."""


class Namespace:
    """A network namespace that lives as long as this object, or what was started in it."""

    def __init__(self):
        def make():
            _check(_libc.unshare(CLONE_NEWNET))
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

        self.descriptor = _in_thread(make)

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def do(self, function, *arguments):
        """Calls a function in the namespace; sockets that it opens stay there."""
        def there():
            self.enter()
            return function(*arguments)

        return _in_thread(there)

    def enter(self):
        """From now on this thread, and what it starts, is in the namespace."""
        _check(_libc.setns(self.descriptor, CLONE_NEWNET))

    def run(self, *arguments, text=""):
        """Runs a program there to its end."""
        done = self.do(lambda: subprocess.run(
            [str(part) for part in arguments], input=text, capture_output=True, text=True,
            timeout=30))
        if done.returncode != 0:
            raise NetworkRefused(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def close(self):
        os.close(self.descriptor)


class Host(Namespace):
    """A machine on the network, with one address of each family."""

    def __init__(self, network, name, number):
        super().__init__()
        self.network = network
        self.name = name
        # Where packets are to be late.
        self.cable = None
        self.port = f"port{number}"
        self.address = f"203.0.113.{number}"
        self.address6 = f"2001:db8::{number}"
        self._resolver = network.directory / f"{name}.resolv.conf"
        self.ask(network.name_server)

    def ask(self, *name_servers):
        """What the resolver of programs that are started from now on asks."""
        self._resolver.write_text(
            "".join(f"nameserver {server}\n" for server in name_servers)
            + "options timeout:1 attempts:2\n")

    @property
    def program(self):
        """What goes before the command line of a program that is to run there."""
        return [
            "setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={self.path}",
            "unshare", "--mount", "--propagation", "private", "sh", "-c",
            'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(self._resolver)]

    def listen(self, kind=socket.SOCK_STREAM, port=0, family=socket.AF_INET):
        """A bound socket of the host, listening if it can."""
        def make():
            made = socket.socket(family, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.address if family == socket.AF_INET else self.address6, port))
            if kind == socket.SOCK_STREAM:
                made.listen()
            return made

        return self.do(make)

    def _connect(self, delay):
        switch = self.network.switch
        if delay is None:
            switch.run(
                "ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns",
                self.path)
        else:
            self.cable = Cable(self, "eth0", switch, self.port, delay)
        switch.run("ip", "link", "set", self.port, "master", "switch", "up")
        self.do(_tune)
        self.run(
            "ip", "-batch", "-", text=f"link set lo up\nlink set eth0 up\n"
            f"addr add {self.address}/24 dev eth0\naddr add {self.address6}/64 dev eth0 nodad\n")


class Network:
    """A switch with hosts. `directory` takes their small files."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.hosts = {}
        self.name_server = f"203.0.113.{NAME_SERVER}"
        self._home = None
        if os.geteuid() != 0:
            raise NetworkRefused("only root can make network namespaces")
        for program in ("ip", "nft", "nsenter", "setpriv"):
            if shutil.which(program) is None:
                raise NetworkRefused(f"there is no {program}")
        try:
            self.switch = Namespace()
        except OSError as error:
            raise NetworkRefused(f"no network namespace: {error.strerror}") from None
        self.switch.run(
            "ip", "-batch", "-",
            text="link add switch type bridge stp_state 0 forward_delay 0\nlink set switch up\n")
        self.switch.run("nft", "-f", "-", text=RULES)

    def host(self, name, number=None, delay=None):
        """Adds a machine; the last number of its addresses is free unless it is given. With a
        delay in seconds, packets from and to it are late; `host.cable.delay` changes that."""
        number = number or 1 + len(self.hosts)
        host = Host(self, name, number)
        self.hosts[name] = host
        host._connect(delay)
        return host

    # Faults

    def cut(self, one, other, family=""):
        """Drops all packets between two hosts; `family` may be 4 or 6."""
        self._pairs("add", one, other, family)

    def mend(self, one, other, family=""):
        self._pairs("delete", one, other, family)

    def _pairs(self, verb, one, other, family):
        pairs = f'"{one.port}" . "{other.port}", "{other.port}" . "{one.port}"'
        self.switch.run(
            "nft", verb, "element", "bridge", "cuts", f"pairs{family}", "{", pairs, "}")

    def unplug(self, host):
        """The host's link goes down."""
        self.switch.run("ip", "link", "set", host.port, "down")

    def plug(self, host):
        self.switch.run("ip", "link", "set", host.port, "up")

    # Where the test is

    def enter(self, host):
        """Brings the test itself to a host, until `close`: its clients connect from there."""
        if self._home is None:
            self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        host.enter()

    def close(self):
        if self._home is not None:
            _check(_libc.setns(self._home, CLONE_NEWNET))
            os.close(self._home)
        for host in self.hosts.values():
            if host.cable is not None:
                host.cable.close()
            host.close()
        self.switch.close()


def _tune():
    """TCP tries again at least each second, where the kernel can (Linux 6.15): a link that is back
    is used at once."""
    setting = Path("/proc/sys/net/ipv4/tcp_rto_max_ms")
    if setting.exists():
        setting.write_text("1000")


def _in_thread(function):
    """A thread's namespace is its own."""
    result, errors = [], []

    def call():
        try:
            result.append(function())
        except BaseException as error:  # Raised again in the thread that asked.
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def _check(status):
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

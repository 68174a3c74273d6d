"""What systemd does for a unit's sandbox, as far as it can be done without systemd: which system
calls and sockets are left, and which paths can be seen and written."""

import re
import shlex
import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
EPERM = 1
ALLOW, DENY = 0x7FFF0000, 0x00050000 | EPERM
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


def settings(text):
    """Every value of each setting of a unit, in order."""
    found = {}
    for line in text.splitlines():
        if "=" in line and line[0] not in "#;":
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def allowed_calls(system, unit):
    """The names of the system calls that the unit leaves, by the sets of the system's own systemd."""
    lines = system.run("systemd-analyze", "syscall-filter", "--no-pager").stdout.splitlines()
    sets, current = {}, None
    for line in lines:
        line = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if line.startswith("@"):
            current = sets.setdefault(line.strip(), [])
        elif line.startswith("    ") and current is not None and line.strip()[0] != "#":
            current.append(line.strip())

    def names(words):
        for word in words:
            yield from names(sets[word]) if word[0] == "@" else [word]

    calls = set(names(["@default"]))
    for value in unit["SystemCallFilter"]:
        words = set(names(value.lstrip("~").split()))
        calls = calls - words if value[0] == "~" else calls | words
    return calls


def filter_program(system, unit):
    """A seccomp filter that leaves what the unit leaves."""
    defined = subprocess.run(
        ["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"], check=True,
        capture_output=True, text=True).stdout
    constants = dict(re.findall(r"(?m)^#define __NR_(\w+) (\d+)$", defined))
    numbers = sorted(
        int(constants[name]) for name in allowed_calls(system, unit) if name in constants)
    assert len(numbers) > 200, "the sets of system calls could not be read"
    code = [(LOAD, 0, 0, FIRST_ARGUMENT)]
    families = [FAMILIES[name] for name in unit["RestrictAddressFamilies"][-1].split()]
    check = [step for family in families for step in ((EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW))]
    code += [(LOAD, 0, 0, NUMBER), (EQUAL, 0, len(check) + 2, int(constants["socket"])),
             (LOAD, 0, 0, FIRST_ARGUMENT), *check, (RETURN, 0, 0, DENY)]
    for number in numbers:
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    code.append((RETURN, 0, 0, DENY))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


class Sandbox:
    """Runs commands of a system as a unit's service would run."""

    def __init__(self, system, unit_file):
        self.system = system
        self.unit = settings(system.path(unit_file).read_text())
        tools = system.path("/opt")
        subprocess.run(
            ["gcc", "-static", "-O1", "-Wall", "-Werror", "-o", tools / "sandbox",
             HERE / "sandbox.c"], check=True)
        (tools / "filter").write_bytes(filter_program(system, self.unit))
        for path in self.writable:
            system.path(path).mkdir(parents=True, exist_ok=True)

    @property
    def writable(self):
        """What ProtectSystem=strict leaves: the unit's own directories and ReadWritePaths."""
        paths = [path.lstrip("-") for path in self.unit["ReadWritePaths"][-1].split()]
        return [
            "/tmp", "/run", f"/var/lib/{self.unit['StateDirectory'][-1]}", *paths]

    def command(self, *words):
        """The arguments that run a command so, as the unit's user and with its capabilities."""
        user = [
            "setpriv", f"--reuid={self['User']}", f"--regid={self['Group']}",
            f"--groups={self['SupplementaryGroups']}", *self._capabilities(), "--no-new-privs"]
        root = shlex.quote(str(self.system.root))
        steps = [f"mount --rbind {root} {root}", f"cd {root}", "mount -o remount,bind,ro ."]
        for path in self.writable:
            steps += [f"mount --bind .{path} .{path}", f"mount -o remount,bind,rw .{path}"]
        # ProtectHome=yes
        steps += [f"mount -t tmpfs -o mode=000,ro none .{home}" for home in ("/home", "/root")]
        inside = shlex.join([*user, "/opt/sandbox", "/opt/filter", *map(str, words)])
        return ["unshare", "--mount", "sh", "-ec", "; ".join(steps) + f"; exec chroot . {inside}"]

    def __getitem__(self, key):
        """The last value of a setting."""
        return self.unit[key][-1]

    def _capabilities(self):
        """For setpriv: the capabilities that the unit leaves, and those that it gives."""
        left, given = (
            ",".join(["-all", *(name.replace("CAP_", "+").lower() for name in self[key].split())])
            for key in ("CapabilityBoundingSet", "AmbientCapabilities"))
        return [f"--bounding-set={left}", f"--inh-caps={given}", f"--ambient-caps={given}"]

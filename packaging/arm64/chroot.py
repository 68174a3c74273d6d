"""Commands in another system's directory, in a mount namespace of their own."""

import os
import subprocess

from problem import Problem

PATH = "/usr/libexec/swift/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# What of this machine's settings a download inside wants.
PROXIES = tuple(
    name for proxy in ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
    for name in (proxy, proxy.upper()))
# $1 is the tree, then pairs of source and destination up to --, then the command.
SCRIPT = r"""
set -e
# Users have no path to chroot.
PATH=$PATH:/usr/sbin:/sbin
tree=$1; shift
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/tmp"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$tree$2"; else mkdir -p "$(dirname "$tree$2")"; : >>"$tree$2"; fi
    mount --rbind "$1" "$tree$2"; shift 2
done
shift
exec chroot "$tree" "$@"
"""


def namespaces():
    """How this user gets namespaces: root has them, others where the kernel lets them. What runs in
    them ends with whoever started it, and so does all that it starts."""
    options = ["--mount", "--pid", "--fork", "--kill-child"]
    return ["unshare", *options] if os.geteuid() == 0 else [
        "unshare", "--user", "--map-root-user", *options]


def together(arguments):
    """The arguments that run a command of this machine so that all it starts ends with it."""
    return [*namespaces(), "--mount-proc", *(str(argument) for argument in arguments)]


def check():
    """Says what to do on a machine that gives this user no namespace."""
    try:
        done = subprocess.run(
            together(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]), capture_output=True, text=True)
    except FileNotFoundError:
        raise Problem("There is no unshare: install util-linux.") from None
    if done.returncode:
        raise Problem(
            "This user may not make a namespace, in which the build's own tool chain runs "
            f"({done.stderr.strip()}). Type the same as root, or allow it: "
            "sysctl kernel.unprivileged_userns_clone=1, and where AppArmor forbids it "
            "kernel.apparmor_restrict_unprivileged_userns=0. In a container, start that one with "
            "the right to mount.")


def command(tree, arguments, binds=None, environment=None):
    """The arguments that run a command in a tree; `binds` are directories to see inside."""
    pairs = [str(part) for bind in (binds or {}).items() for part in bind]
    variables = {
        "HOME": "/root", "PATH": PATH, "LANG": "C.UTF-8",
        **{key: os.environ[key] for key in PROXIES if key in os.environ}, **(environment or {})}
    return [
        *namespaces(), "sh", "-c", SCRIPT, "sh", str(tree), *pairs, "--", "/usr/bin/env", "-i",
        *(f"{key}={value}" for key, value in variables.items()),
        *(str(argument) for argument in arguments)]


def run(tree, arguments, binds=None, environment=None, input=None):
    """Runs a command in a tree to its end; what it printed."""
    done = subprocess.run(
        command(tree, arguments, binds, environment), input=input, capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout

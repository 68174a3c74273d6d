"""What keeps the server from starting: one clear line, status 1, and nothing half started."""

import fcntl
import os
import shutil
import signal
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from certificates import Authority
from kinglet import one_line

# What --isolated does, as settings of `serve` below.
ISOLATED = {
    "listen__addresses": "127.0.0.1", "listen__client_port": 0, "listen__client_tls_port": 0,
    "listen__server_port": 0, "listen__web_port": 0, "metrics__port": 0,
}


@pytest.fixture
def kinglet(make_server):
    return make_server()


def serve(kinglet, **settings):
    """A start that fails, with settings whose dots are written as two underscores."""
    sets = [
        part for key, value in settings.items()
        for part in ("--set", f"{key.replace('__', '.')}={value}")]
    return kinglet.command("serve", *sets, check=False)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def can_bind(port):
    try:
        socket.create_server(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "taken", [
        "listen__client_port", "listen__client_tls_port", "listen__server_port",
        "listen__server_tls_port", "listen__web_port", "metrics__port"])
def test_a_taken_port(kinglet, taken):
    """The line names address, port and option; the other ports and the data are free again."""
    ports = {
        key: free_port()
        for key in ("listen__client_port", "listen__client_tls_port", "listen__server_port",
                    "listen__server_tls_port", "listen__web_port", "metrics__port")}
    with socket.create_server(("127.0.0.1", ports[taken])):
        line = one_line(serve(kinglet, listen__addresses="127.0.0.1", **ports))
    assert str(ports[taken]) in line and taken.replace("__", ".") in line, line
    assert all(can_bind(port) for port in ports.values())
    kinglet.start()


def test_an_address_that_is_not_ours(kinglet):
    """RFC 5737: 192.0.2.1 belongs to nobody."""
    line = one_line(serve(kinglet, listen__addresses="192.0.2.1", metrics__port=0))
    assert "192.0.2.1" in line and "listen.addresses" in line


def test_two_servers_on_one_directory(kinglet):
    """The lock decides; the first one goes on."""
    kinglet.start()
    line = one_line(kinglet.command("serve", "--isolated", check=False))
    assert str(kinglet.data) in line
    assert kinglet.get("/readyz")[0] == 200


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_a_missing_file(kinglet, tmp_path, missing):
    """The line names the file."""
    certificate, key = Authority(tmp_path).issue("example.test")
    files = {"certificate": certificate, "key": key}
    files[missing].unlink()
    line = one_line(serve(
        kinglet, tls__certificate=certificate, tls__key=key, **ISOLATED))
    assert str(files[missing]) in line


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_a_file_without_a_certificate(kinglet, tmp_path, broken):
    """The line names the file and does not quote it."""
    certificate, key = Authority(tmp_path).issue("example.test")
    files = {"certificate": certificate, "key": key}
    files[broken].write_text("nothing of the kind\n")
    line = one_line(serve(
        kinglet, tls__certificate=certificate, tls__key=key, **ISOLATED))
    assert str(files[broken]) in line and "nothing of the kind" not in line


def test_a_key_of_another_certificate(kinglet, tmp_path):
    authority = Authority(tmp_path)
    certificate, _ = authority.issue("example.test", name="one")
    _, key = authority.issue("example.test", name="two")
    line = one_line(serve(
        kinglet, tls__certificate=certificate, tls__key=key, **ISOLATED))
    assert str(key) in line or str(certificate) in line


def test_a_certificate_without_its_key_is_not_enough(kinglet, tmp_path):
    certificate, _ = Authority(tmp_path).issue("example.test")
    line = one_line(serve(kinglet, tls__certificate=certificate, **ISOLATED))
    assert "tls.key" in line


def test_an_unreadable_key(kinglet):
    """The server runs as the owner of its data, also when root starts it: a key that this user
    cannot read is named. Its directory has to be one that everybody reaches."""
    directory = Path(tempfile.mkdtemp(prefix="kinglet-key-"))
    try:
        directory.chmod(0o755)
        certificate, key = Authority(directory).issue("example.test")
        key.chmod(0o600 if os.geteuid() == 0 else 0)
        data = directory / "data"
        shutil.copytree(kinglet.data, data)
        if os.geteuid() == 0:
            nobody = 65_534
            for path in (data, *data.rglob("*")):
                os.chown(path, nobody, nobody)
        line = one_line(serve(
            kinglet, data_dir=data, tls__certificate=certificate, tls__key=key, **ISOLATED))
        assert str(key) in line and "ermission" in line, line
    finally:
        shutil.rmtree(directory)


def test_a_metrics_page_for_everybody_needs_a_lock(kinglet):
    """Beyond loopback: a token, a password or an allow-list."""
    line = one_line(serve(kinglet, **{**ISOLATED, "metrics__address": "0.0.0.0"}))
    assert "metrics" in line and "token" in line


def test_a_data_directory_that_is_a_file(kinglet, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    line = one_line(serve(kinglet, data_dir=file, **ISOLATED))
    assert str(file) in line


def test_a_database_that_is_none(kinglet):
    """A damaged database is not overwritten."""
    database = kinglet.data / "kinglet.db"
    for extra in ("-wal", "-shm"):
        Path(f"{database}{extra}").unlink(missing_ok=True)
    database.write_bytes(b"not a database " * 1000)
    line = one_line(serve(kinglet, **ISOLATED))
    assert "kinglet.db" in line
    assert database.read_bytes().startswith(b"not a database")


def test_the_server_stops_while_nobody_is_there(kinglet):
    """SIGTERM right after the start; the port of the metrics is free afterwards."""
    kinglet.start()
    port = kinglet.ports["metrics"]
    kinglet.signal(signal.SIGTERM)
    assert kinglet.wait() == 0
    assert can_bind(port)


def test_a_command_at_work_is_waited_for(kinglet):
    """A command that works on the data itself has its lock for a moment; who keeps it is told."""
    lock = open(kinglet.data / "kinglet.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.5, lock.close).start()
    kinglet.start()
    kinglet.stop()

    with open(kinglet.data / "kinglet.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kinglet.start(wait=False)
        assert kinglet.log.line_with("another kinglet uses")
        assert kinglet.wait() == 1

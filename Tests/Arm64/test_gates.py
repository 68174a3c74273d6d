"""What a package for the Pi has to do before it is one: start, let people in, carry a message, show
its metrics and end, on every release that it is for and without AES in the chip."""

import signal
import subprocess
from pathlib import Path

import pytest

import kinglet as kinglet_module
from emulated import PACKAGE, RELEASES, Chip, crypto_instructions, unpack
from kinglet import FAST_KEYS, Kinglet
from people import Person
from raw_client import RawClient
from stock_client import StockClient

ROMEO = Person("romeo", "example.test", "wherefore")
JULIET = Person("juliet", "example.test", "balcony")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    assert PACKAGE.is_file(), "KINGLET_PACKAGE names no package; type make deb-arm64"
    return unpack(tmp_path_factory.mktemp("package"))


@pytest.fixture
def start(program, tmp_path, monkeypatch):
    """Starts the program on a chip."""
    servers = []

    def make(chip, log=None):
        server = Kinglet(tmp_path / "server", settings=FAST_KEYS)
        server.directory.mkdir()
        monkeypatch.setattr(kinglet_module, "BINARY", chip.wrapper(tmp_path, program))
        server.initialize()
        for person in (ROMEO, JULIET):
            server.add_user(person.jid, person.password)
        monkeypatch.setattr(kinglet_module, "BINARY", chip.wrapper(tmp_path, program, log))
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.stop()


@pytest.mark.parametrize("release", RELEASES)
def test_apt_finds_all_that_it_needs(release, tmp_path):
    """In the release's own packages, by their own names and versions: apt would install it."""
    state = {
        "Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": tmp_path, "Dir::Cache": tmp_path, "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64", "APT::Install-Recommends": "false",
        "Dir::State::status": Path(RELEASES[release]) / "var/lib/dpkg/status"}
    done = subprocess.run(
        ["apt-get", *(f"-o{key}={value}" for key, value in state.items()), "install", "--simulate",
         PACKAGE.resolve()], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")] == [
        "kinglet"]


@pytest.mark.parametrize("hides_crypto", [False, True], ids=["with_aes", "without_aes"])
@pytest.mark.parametrize("release", RELEASES)
async def test_a_day_in_short(start, release, hides_crypto):
    server = start(Chip(release, hides_crypto))
    romeo = StockClient(server, ROMEO.jid, ROMEO.password)
    juliet = StockClient(server, JULIET.jid, JULIET.password)
    try:
        for client in (romeo, juliet):
            await client.log_in()
            await client.come_online()
            assert client.negotiated_tls == "TLSv1.3"
        romeo.send_message(JULIET.jid, "But, soft! what light", mtype="chat")
        assert (await juliet.next_message())["body"] == "But, soft! what light"
        assert server.metric("kinglet_connections") == 2
    finally:
        await romeo.leave()
        await juliet.leave()
    # The client's own list begins with AES, and the server goes by its chip (RFC 8446 section 4.1.2
    # gives it the choice).
    with RawClient.connected(server) as client:
        cipher = client.connection.cipher()[0]
    assert cipher == ("TLS_CHACHA20_POLY1305_SHA256" if hides_crypto else "TLS_AES_128_GCM_SHA256")
    server.signal(signal.SIGTERM)
    assert server.wait(30) == 0, server.log.text


@pytest.mark.parametrize("hides_crypto", [False, True], ids=["with_aes", "without_aes"])
@pytest.mark.parametrize("release", RELEASES)
def test_no_instruction_that_the_chip_lacks_is_reached(start, tmp_path, release, hides_crypto):
    """Of the program and of every library. The emulator's chip has the instructions, so nothing
    fails there; with what a Pi 4 says of itself, nobody gets as far as one."""
    log = tmp_path / "reached"
    server = start(Chip(release, hides_crypto), log)
    with RawClient.logged_in(server, ROMEO):
        server.metric("kinglet_connections")
    server.stop()
    reached = crypto_instructions(log)
    if hides_crypto:
        assert reached == {}
    else:
        # It is looked for in the right place.
        assert reached.keys() & {"aese"} and reached.keys() & {"sha256h"}

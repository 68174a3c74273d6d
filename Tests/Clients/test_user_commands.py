"""`kinglet user` and `kinglet status`, with and without a running server."""

import stat
import tempfile

import pytest

from kinglet import BINARY, NO_LOGIN_DELAY, Kinglet, one_line
from people import JULIET, ROMEO, Person
from raw_client import RawClient
from terminal import Terminal


@pytest.fixture(params=["running", "stopped"])
def kinglet(request, make_server):
    """A server with one user, in both states."""
    kinglet = make_server(users={ROMEO.jid: ROMEO.password}, settings=NO_LOGIN_DELAY)
    if request.param == "running":
        kinglet.start()
    return kinglet


def can_log_in(kinglet, person):
    """Whether the password is right, asking the server, which is started if need be."""
    if kinglet.process is None:
        kinglet.start()
    with RawClient.secure(kinglet) as client:
        return client.authenticate(
            "PLAIN", f"\0{person.name}\0{person.password}".encode()) == "success"


def fails(kinglet, *arguments, stdin=""):
    """The one line of a command that has to fail."""
    return one_line(kinglet.command(*arguments, stdin=stdin, check=False))


def test_users_are_added_and_shown(kinglet):
    """add, list, show; --json is one document."""
    kinglet.add_user("juliet@example.test", "balcony")
    users = {user["jid"]: user for user in kinglet.json("user", "list")}
    assert users.keys() == {"admin@example.test", "juliet@example.test", ROMEO.jid}
    assert users["admin@example.test"]["administrator"] is True
    assert users[ROMEO.jid]["administrator"] is False
    assert users[ROMEO.jid].items() <= kinglet.json("user", "show", ROMEO.jid).items()
    assert len(kinglet.json("user", "list", "example.test")) == 3
    assert "juliet@example.test" in kinglet.command("user", "list").stdout
    assert can_log_in(kinglet, JULIET)


@pytest.mark.parametrize(
    "jid, part",
    [(ROMEO.jid, "exists"), ("ROMEO@Example.TEST", "exists"), ("tybalt@elsewhere.test", "domain"),
     ("a b@example.test", "'a b'"), ("@example.test", "empty"), ("romeo@", "empty")])
def test_users_who_cannot_be_added(kinglet, jid, part):
    """RFC 7622: one line says why; addresses are compared as they are prepared."""
    line = fails(kinglet, "user", "add", jid, "--password-stdin", stdin="secret\n")
    assert part.lower() in line.lower()


@pytest.mark.parametrize("password", ["", "\n", "x" * 1025 + "\n"], ids=["none", "empty", "long"])
def test_passwords_that_cannot_be_used(kinglet, password):
    line = fails(
        kinglet, "user", "add", "juliet@example.test", "--password-stdin", stdin=password)
    assert "password" in line and "xxx" not in line


@pytest.mark.parametrize(
    "command", [["show"], ["sessions"], ["remove"], ["disable"], ["enable"], ["password"]],
    ids="".join)
def test_a_user_who_is_not_there(kinglet, command):
    options = ["--password-stdin"] if command == ["password"] else []
    line = fails(
        kinglet, "user", *command, "nobody@example.test", *options, stdin="a new secret\n")
    assert "nobody@example.test" in line


def test_a_password_is_changed(kinglet):
    kinglet.command(
        "user", "password", ROMEO.jid, "--password-stdin", stdin="a new secret\n")
    assert can_log_in(kinglet, Person(ROMEO.name, ROMEO.domain, "a new secret"))
    assert not can_log_in(kinglet, ROMEO)


def test_a_user_is_disabled_and_enabled(kinglet):
    """RFC 6120 section 6.5.1: account-disabled, for who knows the password."""
    kinglet.command("user", "disable", ROMEO.jid)
    assert kinglet.json("user", "show", ROMEO.jid)["disabled"] is True
    if kinglet.process is None:
        kinglet.start()
    with RawClient.secure(kinglet) as client:
        assert client.authenticate("PLAIN", b"\0romeo\0wherefore") == "account-disabled"
        assert client.authenticate("PLAIN", b"\0romeo\0guess") == "not-authorized"
    kinglet.command("user", "enable", ROMEO.jid)
    assert kinglet.json("user", "show", ROMEO.jid)["disabled"] is False
    assert can_log_in(kinglet, ROMEO)


def test_a_user_is_removed(kinglet):
    kinglet.command("user", "remove", ROMEO.jid)
    assert ROMEO.jid not in kinglet.command("user", "list").stdout
    assert not can_log_in(kinglet, ROMEO)


def test_the_initial_password_goes_with_its_first_change(kinglet):
    """It works, and its file is there until it is of no more use."""
    file = kinglet.data / "initial-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    jid, password = file.read_text().split()
    assert jid == "admin@example.test"
    assert can_log_in(kinglet, Person("admin", "example.test", password))
    kinglet.command("user", "password", ROMEO.jid, "--password-stdin", stdin="another\n")
    assert file.exists()
    kinglet.command("user", "password", jid, "--password-stdin", stdin="my own\n")
    assert not file.exists()
    assert can_log_in(kinglet, Person("admin", "example.test", "my own"))


def test_status(kinglet):
    """The real ports, the users, nothing wrong."""
    status = kinglet.json("status")
    assert status["running"] is (kinglet.process is not None)
    assert status["users"] == 2
    assert status["domains"] == ["example.test"]
    assert status["problems"] == []
    if kinglet.process is not None:
        assert status["processID"] == kinglet.process.pid
        assert {entry["name"]: entry["port"] for entry in status["listeners"]} == kinglet.ports
        assert status["certificates"][0]["domains"] == ["example.test", "push.example.test"]
        assert status["certificates"][0]["localAuthority"] is True
    assert kinglet.command("status").stdout


def test_users_are_imported(kinglet, tmp_path):
    """Names and addresses, comments, passwords with spaces; those who exist stay as they are."""
    file = tmp_path / "people"
    file.write_text(
        "# Verona\n\njuliet balcony scene \nmercutio@example.test\tqueen mab\n"
        f"{ROMEO.jid} overwritten\nbad@@address secret\nnurse angelica\r\n")
    done = kinglet.command("user", "import", file, check=False)
    assert done.returncode == 1
    assert "added 3 of 5 users" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert f"{file}:5: " in lines[0] and "exists" in lines[0]
    assert f"{file}:6: " in lines[1]
    for name, password in (
        ("juliet", "balcony scene "), ("mercutio", "queen mab"), ("nurse", "angelica"),
        ("romeo", ROMEO.password),
    ):
        assert can_log_in(kinglet, Person(name, "example.test", password)), name


def test_an_import_with_a_line_without_password_adds_nobody(kinglet, tmp_path):
    file = tmp_path / "people"
    file.write_text("juliet balcony\nmercutio\n")
    assert f"{file}:2: " in fails(kinglet, "user", "import", file)
    assert len(kinglet.json("user", "list")) == 2


def test_an_import_that_is_not_there(kinglet, tmp_path):
    assert str(tmp_path / "missing") in fails(kinglet, "user", "import", tmp_path / "missing")


def test_import_from_standard_input_with_json(kinglet):
    done = kinglet.command("user", "import", "-", "--json", stdin="juliet balcony\n")
    assert '"added" : 1' in done.stdout
    assert can_log_in(kinglet, JULIET)


def test_a_long_import_shows_its_progress(kinglet):
    """On a terminal alone."""
    file = kinglet.directory / "people"
    file.write_text("".join(f"person{number} secret\n" for number in range(60)))
    with Terminal(
        BINARY, "user", "import", file, "--config", kinglet.configuration,
        "--set", "storage.scram_iterations=4096",
    ) as terminal:
        terminal.wait_for("50 of 60")
        terminal.wait_for("added 60 of 60 users")
        assert terminal.process.wait(15) == 0


def test_a_password_is_asked_for_twice_and_not_shown(kinglet):
    """On a terminal, without --password-stdin."""
    with Terminal(
        BINARY, "user", "add", "juliet@example.test", "--config", kinglet.configuration,
        "--set", "storage.scram_iterations=4096",
    ) as terminal:
        # As fast as a paste: the prompt has to come after the echo was turned off.
        for prompt in ("Password:", "Again:"):
            terminal.wait_for(prompt)
            terminal.type("balcony\n")
        terminal.wait_for("added juliet@example.test")
        assert "balcony" not in terminal.text
    assert can_log_in(kinglet, JULIET)


@pytest.mark.parametrize("length", [103, 104, 107, 108])
def test_the_server_is_asked_in_directories_of_every_depth(length):
    """A socket's address is short; one that is just too long is reached all the same."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        kinglet = Kinglet(folder)
        kinglet.data = kinglet.directory / ("d" * (length - len(f"{folder}//control.sock")))
        kinglet.initialize()
        kinglet.start()
        assert len(str(kinglet.data / "control.sock")) == length
        assert kinglet.json("status")["running"] is True
        kinglet.stop()

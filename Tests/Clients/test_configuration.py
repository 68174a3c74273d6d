"""The configuration file: mistakes are named, the reference is right, SIGHUP reads it again."""

import json
import re
import signal

import pytest

from kinglet import one_line, run
from raw_client import RawClient
from waiting import eventually

# What is added to the configuration, and what the one line about it says. None of the keys is
# one that --isolated overrides, because what is overridden is not looked at.
MISTAKES = {
    "unknown_key": ("limits:\n  stanzas: 5\n", ["limits.stanzas", "did you mean limits.stanza?"]),
    "unknown_section": ("limit:\n  stanza: 512KiB\n", ["limit", "unknown", "limits"]),
    "wrong_type": ("limits:\n  resources: many\n", ["limits.resources", "number", "many"]),
    "out_of_bounds": ("listen:\n  event_loops: 65\n", ["listen.event_loops", "64", "65"]),
    "too_small": ("limits:\n  stanza: 10\n", ["limits.stanza", "10"]),
    "bad_duration": ("limits:\n  negotiation: soon\n", ["limits.negotiation", "soon"]),
    "bad_choice": ("log:\n  format: xml\n", ["log.format", "logfmt", "json", "xml"]),
    "list_for_text": ("log:\n  level: [debug]\n", ["log.level"]),
    "given_twice": ("domain: other.test\n", ["domain"]),
    "bad_domain": ("domains: [bad domain]\n", ["domains", "bad domain"]),
    "not_yaml": ("log: [\n", []),
    "tab": ("log:\n\tlevel: debug\n", []),
}


@pytest.fixture(scope="module")
def initialized(tmp_path_factory):
    """A configuration of `init`, as text."""
    directory = tmp_path_factory.mktemp("configuration")
    done = run("init", "--config", directory / "k.yaml", "--data", directory / "data",
               "--domain", "example.test", "--yes")
    assert done.returncode == 0, done.stderr
    return directory, (directory / "k.yaml").read_text()


@pytest.mark.parametrize("command", [["serve", "--isolated"], ["config", "--check"]],
                         ids=["serve", "check"])
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named(initialized, command, mistake):
    """File, line, key, what was expected and the nearest known key; status 1."""
    directory, text = initialized
    added, parts = mistake
    broken = directory / "broken.yaml"
    broken.write_text(text + added)
    line = one_line(run(*command, "--config", broken))
    assert re.search(rf"{re.escape(str(broken))}:\d+: ", line), line
    for part in parts:
        assert part in line, line


def test_several_mistakes_are_named_together(initialized):
    """One line each, in the order of the file."""
    directory, text = initialized
    broken = directory / "several.yaml"
    broken.write_text(text + "limits:\n  depth: 1\n  resources: none\nlogs: {}\n")
    done = run("config", "--check", "--config", broken)
    assert done.returncode == 1
    found = [key for key in re.findall(r"\d+: ([\w.]+): ", done.stderr)]
    assert found == ["limits.depth", "limits.resources", "logs"]


def test_a_mistake_in_an_override_is_named(initialized):
    """--set names itself in place of a file."""
    directory, _ = initialized
    line = one_line(run("serve", "--config", directory / "k.yaml", "--set", "limits.depht=32"))
    assert "--set limits.depht" in line and "limits.depth" in line


def test_a_machine_that_is_not_there_is_named(initialized):
    """A misspelt folder is no machine that lacks everything."""
    directory, _ = initialized
    line = one_line(run(
        "serve", "--config", directory / "k.yaml", "--set", f"hardware.root={directory}/nowhere"))
    assert "--set hardware.root" in line and "a folder that exists" in line


def test_a_good_configuration_passes(initialized):
    directory, _ = initialized
    done = run("config", "--check", "--config", directory / "k.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no mistakes" in done.stdout


@pytest.mark.parametrize("settings, part", [
    ("{address: 0.0.0.0}", "open to everybody"),
    ("{address: pi.local}", "not an IP address"),
    ("{address: 0.0.0.0, user: prometheus}", "metrics.password"),
    ('{token: ""}', "metrics.token"),
], ids=["open", "name", "no_password", "empty_token"])
def test_the_check_knows_what_the_start_refuses(initialized, settings, part):
    """Options that are right one by one and wrong together, before a restart finds it out."""
    directory, text = initialized
    together = directory / "together.yaml"
    together.write_text(f"{text}metrics: {settings}\n")
    assert part in one_line(run("config", "--check", "--config", together))


def test_the_reference_is_a_configuration(tmp_path):
    """`config --reference` with a domain passes the check, as it is and with every default
    spelt out; the defaults are in force then."""
    reference = run("config", "--reference")
    assert (reference.returncode, reference.stderr) == (0, "")
    for text in (
        reference.stdout + "\n", re.sub(r"(?m)^( *)#(\w+:)", r"\1\2", reference.stdout),
    ):
        assert "domain:" in text
        complete, count = re.subn(r"(?m)^#?domain:.*$", "domain: example.test", text)
        assert count == 1
        file = tmp_path / "reference.yaml"
        file.write_text(complete)
        done = run("config", "--check", "--config", file)
        assert (done.returncode, done.stderr) == (0, ""), complete


def test_the_examples_of_the_reference_are_configurations(tmp_path):
    """In place of the defaults, all of them together."""
    text = run("config", "--reference").stdout
    complete, count = re.subn(
        r"(?m)^( *)# For example:\n((?:\1#   .*\n)+)\1#(\w+): \[\]$",
        lambda match: f"{match[1]}{match[3]}:\n" + match[2].replace("#", " ", 1).replace(
            f"\n{match[1]}#", f"\n{match[1]} "), text)
    assert count >= 2 and count == text.count("# For example:")
    file = tmp_path / "kinglet.yaml"
    file.write_text(re.sub(r"(?m)^#?domain:.*$", "domain: example.test", complete))
    done = run("config", "--check", "--config", file)
    assert (done.returncode, done.stderr) == (0, ""), complete


def test_no_configuration(tmp_path):
    """Without a terminal nothing is asked and nothing is made: the line says what to do."""
    line = one_line(run("serve", cwd=tmp_path))
    assert "kinglet init" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["serve"], ["config"], ["status"], ["user", "list"]])
def test_a_configuration_that_is_not_there(tmp_path, command):
    """The file that was asked for is the one that is named."""
    line = one_line(run(*command, "--config", tmp_path / "missing.yaml", cwd=tmp_path))
    assert str(tmp_path / "missing.yaml") in line


def test_init_makes_what_serve_needs(initialized):
    """`init`: nothing secret can be read by others, and the second time nothing changes."""
    directory, _ = initialized
    data = directory / "data"
    before = {path: path.read_bytes() for path in (data / "ca.crt", data / "server.crt")}
    done = run("init", "--config", directory / "k.yaml", "--yes")
    assert done.returncode == 0, done.stderr
    assert before == {path: path.read_bytes() for path in before}
    for path in (data, data / "secrets"):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (*(data / "secrets").iterdir(), data / "initial-password"):
        assert path.stat().st_mode & 0o777 == 0o600, path


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["serve", "--nonsense"], ["user", "add"], ["user", "nonsense"],
     ["config", "--check", "--reference"], ["status", "unexpected"],
     ["user", "add", "romeo@example.test", "--password", "wherefore"]],
    ids=" ".join)
def test_wrong_usage(arguments):
    """Status 64, and what would be right."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert "Usage: kinglet" in done.stderr


def test_help_and_version():
    for arguments in (["--help"], ["serve", "--help"], ["user", "add", "--help"], ["--version"]):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


def test_the_signal_reads_the_configuration_again(make_server):
    """SIGHUP: what can change does, the log says what cannot, and a mistake changes nothing."""
    kinglet = make_server().start()

    def registration():
        with RawClient.secure(kinglet) as client:
            return "iq-register" in client.features

    text = kinglet.configuration.read_text()
    assert not registration()
    kinglet.configuration.write_text(
        text + "registration: {policy: open}\nlisten: {event_loops: 7}\n")
    kinglet.signal(signal.SIGHUP)
    eventually(registration, "registration is open")
    assert "registration.policy" in kinglet.log.line_with("now in force")
    assert "listen.event_loops" in kinglet.log.line_with("needs a restart")

    kinglet.configuration.write_text(text + "registration: {policy: shut}\n")
    kinglet.signal(signal.SIGHUP)
    assert "registration.policy" in kinglet.log.line_with("nothing changed")
    assert registration()


def test_the_log_can_be_json(make_server):
    """log.format: every line is one JSON document."""
    kinglet = make_server(settings={"log.format": "json"})
    kinglet.start(wait=False)
    ready = json.loads(kinglet.log.line_with('"ready"'))
    assert ready["level"] == "notice" and ready["domains"] == "example.test"

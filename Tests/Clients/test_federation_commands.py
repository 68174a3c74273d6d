"""`kinglet federation list | test | allow | deny | forget`, with and without a running server."""

import json
import re

import pytest

from federated_kinglet import FederatedKinglet
from kinglet import REPOSITORY, one_line
from raw_client import RawClient
from waiting import eventually

FAILURES = REPOSITORY / "Sources/Engine/Federation/FederationFailure.swift"
PAGE = REPOSITORY / "firmware-notes/federation.md"
APP_SERVER = "push.tigase.im"


@pytest.fixture(params=["running", "stopped"])
def kinglet(request, make_server):
    """In both states; one that runs keeps to itself, so its policy is off."""
    kinglet = make_server()
    if request.param == "running":
        kinglet.start()
    return kinglet


def rules(kinglet):
    """Those given by command: domain and direction, and whether they allow."""
    found = kinglet.json("federation", "list")["rules"]
    return {
        (rule["domain"], rule["direction"]): rule["allowed"] for rule in found
        if rule["source"] == "command"}


def all_reasons():
    """The raw values of FederationFailureReason."""
    cases = re.findall(r'(?m)^    case \w+ = "(\w+)"$|^    case (\w+)$', FAILURES.read_text())
    found = {named or plain for named, plain in cases}
    assert {"no_such_domain", "policy", "timeout", "unreachable", "shutdown"} <= found
    return found


def test_rules_are_given_listed_and_removed(kinglet):
    """Prepared as all domains are (RFC 7622 section 3.2); one way, or both."""
    done = kinglet.json("federation", "allow", "Friends.EXAMPLE")
    assert done["result"] == "allowed" and done["direction"] == "both"
    assert done["change"]["domain"] == "friends.example"
    assert kinglet.json("federation", "deny", "*.spam.example", "--in")["direction"] == "in"
    kinglet.command("federation", "deny", "friends.example", "--out")
    assert rules(kinglet) == {
        ("friends.example", "in"): True, ("friends.example", "out"): False,
        ("*.spam.example", "in"): False}
    text = kinglet.command("federation", "list").stdout
    assert "denied    *.spam.example (in), by command" in text
    assert f"allowed   {APP_SERVER}, by the configuration" in text
    assert kinglet.json("federation", "forget", "friends.example")["result"] == "forgotten"
    assert rules(kinglet) == {("*.spam.example", "in"): False}


def test_rules_outlive_the_server(make_server):
    """What was said while it ran holds when it does not, and the other way round."""
    kinglet = make_server()
    kinglet.command("federation", "allow", "before.example")
    kinglet.start()
    kinglet.command("federation", "allow", "meanwhile.example")
    kinglet.crash()
    assert rules(kinglet) == {
        (f"{name}.example", way): True for name in ("before", "meanwhile")
        for way in ("in", "out")}


def test_with_the_policy_off_a_rule_has_no_effect(make_server):
    kinglet = make_server(settings={"federation.policy": "off"})
    said = kinglet.command("federation", "allow", "friends.example").stdout
    assert "federation.policy is off" in said
    change = kinglet.json("federation", "allow", "friends.example")["change"]
    assert (change["policy"], change["outgoing"], change["incoming"]) == ("off", False, False)


@pytest.mark.parametrize("command", ["allow", "deny", "forget"])
@pytest.mark.parametrize("domain", ["a b", "*.", "juliet@friends.example", "example.test", ""])
def test_what_is_no_other_domain_is_refused(kinglet, command, domain):
    line = one_line(kinglet.command("federation", command, domain, check=False))
    assert ("served here" if domain == "example.test" else "no domain") in line
    assert not rules(kinglet)


@pytest.mark.parametrize(
    "arguments", [["allow"], ["test"], ["deny", "friends.example", "--sideways"], ["redo"]])
def test_wrong_usage(make_server, arguments):
    """Status 64, as every command has it."""
    done = make_server().command("federation", *arguments, check=False)
    assert done.returncode == 64 and done.stderr


@pytest.mark.parametrize("arguments", [[], ["list"], ["test"], ["allow"], ["deny"], ["forget"]])
def test_help(make_server, arguments):
    assert "OVERVIEW" in make_server().command("federation", *arguments, "--help").stdout


def test_the_list_is_one_document(kinglet):
    found = kinglet.json("federation", "list")
    running = kinglet.process is not None
    assert found["running"] is running
    assert found["policy"] == ("off" if running else "allowlist")
    assert found["domains"] == [] and found["omitted"] == 0
    assert {
        "domain": APP_SERVER, "direction": "out", "allowed": True, "source": "configuration"
    } in found["rules"]


def test_the_status_has_a_line(kinglet):
    federation = kinglet.json("status")["federation"]
    assert federation.pop("policy") == ("allowlist" if kinglet.process is None else "off")
    if kinglet.process is not None:
        assert (federation.pop("outgoing"), federation.pop("incoming")) == (0, 0)
    assert federation == {
        "queuedStanzas": 0, "queuedBytes": 0, "unreachable": 0, "unreachablePushDomains": []}
    assert re.search(r"(?m)^others +policy", kinglet.command("status").stdout)


def test_a_test_needs_the_running_server(make_server):
    line = one_line(make_server().command("federation", "test", APP_SERVER, check=False))
    assert "not running; start it" in line


def test_a_test_of_an_own_domain_is_refused(make_server):
    kinglet = make_server().start()
    for arguments in (["example.test"], [APP_SERVER, "--from", "other.example"], ["a b"]):
        one_line(kinglet.command("federation", "test", *arguments, check=False))


def test_a_test_that_the_rules_forbid(make_server):
    """One document, and one line on stderr; status 1."""
    kinglet = make_server().start()
    done = kinglet.command("federation", "test", APP_SERVER, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "policy" in done.stdout and "kinglet federation allow" in done.stdout
    done = kinglet.command("federation", "test", APP_SERVER, "--json", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    found = json.loads(done.stdout)
    assert (found["domain"], found["from"]) == (APP_SERVER, "example.test")
    assert found["ok"] is False and found["reason"] == "policy"
    assert found["text"] and found["advice"] and found["milliseconds"] >= 0
    step, = found["steps"]
    assert step.pop("milliseconds") >= 0 and step.pop("detail")
    assert step == {"step": "policy", "ok": False, "reason": "policy"}


def test_every_reason_is_explained_to_the_owner():
    """A row of the page for each, and none for what does not exist."""
    rows = set(re.findall(r"(?m)^\| `(\w+)` \|", PAGE.read_text()))
    assert rows == all_reasons()


def test_who_allows_one_way_is_told_what_dialback_needs(make_server):
    """XEP-0220 section 2.2: the domain's server connects to ask about a key."""
    for command in ("allow", "deny"):
        text = make_server().command("federation", command, "--help").stdout
        assert "Dialback needs both ways" in " ".join(text.split())


def listed(kinglet, domain):
    """What the list says of a domain; None if it is not there."""
    found = kinglet.json("federation", "list")["domains"]
    return next((peer for peer in found if peer["domain"] == domain), None)


def test_streams_are_listed_and_end_when_they_are_denied(federation):
    ours = federation.add(FederatedKinglet, "first.example")
    federation.add(FederatedKinglet, "second.example")
    federation.start()
    with RawClient.logged_in(ours, ours.people[0]) as romeo:
        romeo.send(
            "<message to='juliet@second.example' type='chat'><body>hin</body></message>")
        peer = eventually(
            lambda: (found := listed(ours, "second.example")) and found["streams"] and found,
            "a stream is listed")
    stream = peer["streams"][0]
    assert (stream["direction"], stream["local"]) == ("out", "first.example")
    assert (stream["tls"], stream["mechanism"]) == ("TLSv1.3", "EXTERNAL")
    route, = peer["routes"]
    assert route["state"] == "open" and "failure" not in route
    assert "TLSv1.3" in ours.command("federation", "list").stdout
    assert ours.json("status")["federation"]["outgoing"] == 1
    change = ours.json("federation", "deny", "second.example")["change"]
    assert change["endedStreams"] == 1 and change["returnedStanzas"] == 0
    eventually(
        lambda: not (listed(ours, "second.example") or {}).get("streams"), "no stream is listed")


def test_what_waits_is_listed_and_goes_back_when_it_is_denied(federation):
    """RFC 6120 section 10.4; nobody listens at the other domain."""
    ours = federation.add(FederatedKinglet, "first.example")
    federation.name_server.domain("down.example", federation.network.host("down"))
    federation.start()
    with RawClient.logged_in(ours, ours.people[0]) as romeo:
        romeo.send(
            "<message to='juliet@down.example' type='chat'><body>hin</body></message>")
        peer = eventually(
            lambda: (found := listed(ours, "down.example"))
            and found["routes"][0].get("nextAttempt") and found, "the next attempt is listed")
        route, = peer["routes"]
        assert (route["state"], route["reason"]) == ("pausing", "connection_refused")
        assert route["queuedStanzas"] == 1 and route["oldest"] and route["failedAt"]
        assert "1 stanza" in ours.command("federation", "list").stdout
        summary = ours.json("status")["federation"]
        assert (summary["queuedStanzas"], summary["unreachable"]) == (1, 1)
        change = ours.json("federation", "deny", "*.example", "--out")["change"]
        assert change["returnedStanzas"] == 1
        error = romeo.read_through("</message>")
        assert "remote-server-not-found" in error and "down.example" in error
    assert ours.json("status")["federation"]["queuedStanzas"] == 0

"""Components (XEP-0114): slixmpp's, attached to the real program."""

import socket

import pytest

from kinglet import NO_LOGIN_DELAY, one_line
from stock_component import StockComponent
from waiting import arrives

BRIDGE, BRIDGE_SECRET = "bridge.example.test", "the secret of the bridge"
OTHER, OTHER_SECRET = "pubsub.test", "the secret of the other one"
ROMEO, PASSWORD = "romeo@example.test", "wherefore art thou"


def configure(server, *components):
    """Adds components to the configuration file."""
    lines = ["components:"]
    for component in components:
        first, *rest = component.items()
        lines.append(f"  - {first[0]}: {first[1]}")
        lines += [f"    {key}: {value}" for key, value in rest]
    text = server.configuration.read_text()
    server.configuration.write_text(text + "\n".join(lines) + "\n")


@pytest.fixture
def bridged(make_server):
    """A server with two components and one person."""
    server = make_server(users={ROMEO: PASSWORD}, settings=NO_LOGIN_DELAY)
    secret = server.directory / "bridge.secret"
    secret.write_text(BRIDGE_SECRET + "\n")
    secret.chmod(0o600)
    configure(
        server, {"domain": BRIDGE, "secret_file": secret},
        {"domain": OTHER, "secret": OTHER_SECRET})
    server.start()
    return server


@pytest.fixture
async def attach(bridged):
    """Attaches components, which are closed at the end."""
    components = []

    def make(domain=BRIDGE, secret=BRIDGE_SECRET):
        component = StockComponent(bridged, domain, secret)
        components.append(component)
        return component

    yield make
    for component in components:
        await component.leave()


@pytest.fixture
async def romeo(bridged, connect):
    class Romeo:
        jid, password = ROMEO, PASSWORD

    async def log_in():
        return await connect(Romeo, "orchard", on=bridged)

    return log_in


async def test_a_component_answers(bridged, attach, romeo):
    """Service discovery, a ping and messages, from a client and to one."""
    bridge = await attach().attach()
    client = await romeo()
    items = await arrives(
        client.plugin["xep_0030"].get_items(jid=bridged.domain), "the server's items")
    assert {item[0] for item in items["disco_items"]["items"]} == {
        BRIDGE, OTHER, f"push.{bridged.domain}"}
    info = await arrives(client.plugin["xep_0030"].get_info(jid=BRIDGE), "what the bridge is")
    assert ("gateway", "test") in {
        identity[:2] for identity in info["disco_info"]["identities"]}
    await arrives(client.plugin["xep_0199"].ping(BRIDGE), "the bridge's answer to a ping")
    await arrives(
        bridge.plugin["xep_0199"].ping(client.boundjid.full, ifrom=BRIDGE), "the client's answer")

    client.send_message(mto=f"tybalt@{BRIDGE}", mbody="say a < b", mtype="chat")
    assert (await bridge.next_message())["body"] == "say a < b"
    answer = await client.next_message()
    assert (answer["body"], answer["from"]) == ("a < b", f"tybalt@{BRIDGE}")
    bridged.becomes(1, "kinglet_component_connections")
    assert bridged.metric(
        "kinglet_component_stanzas_total", kind="message", direction="out") == 1


async def test_two_components_talk_to_each_other(bridged, attach):
    bridge = await attach().attach()
    other = await attach(OTHER, OTHER_SECRET).attach()
    bridge.send_message(mto=f"a@{OTHER}", mfrom=f"b@{BRIDGE}", mbody="say hello")
    assert (await other.next_message())["from"] == f"b@{BRIDGE}"
    answer = await bridge.next_message()
    assert (answer["body"], answer["from"]) == ("hello", f"a@{OTHER}")


async def test_a_component_comes_back_after_the_server_was_killed(bridged, attach, romeo):
    """`kill -9`: the component sees it, attaches again, and is reached again."""
    bridge = await attach().attach()
    bridged.crash()
    await arrives(bridge.gone.wait(), "the bridge sees that the server is gone")
    bridged.start()
    client = await romeo()
    client.send_message(mto=f"tybalt@{BRIDGE}", mbody="too early")
    error = await client.next_message()
    assert error["error"]["condition"] == "service-unavailable"
    assert error["error"]["text"] == f"{BRIDGE} is not connected"
    await bridge.attach()
    client.send_message(mto=f"tybalt@{BRIDGE}", mbody="say again")
    assert (await client.next_message())["body"] == "again"


async def test_a_wrong_secret_is_refused(bridged, attach):
    """XEP-0114 section 3, and neither the log nor anything else shows the secret."""
    bridge = attach(secret="the secret of somebody else")
    await bridge.try_to_attach()
    assert not bridge.attached.is_set()
    error = await arrives(bridge.stream_errors.get(), "a stream error")
    assert error["condition"] == "not-authorized"
    assert bridged.metric("kinglet_component_refusals_total", reason="wrong_secret") == 1
    assert bridged.metric("kinglet_component_connections") == 0
    line = bridged.log.line_with("its secret is wrong")
    assert f"domain={BRIDGE}" in line
    for secret in (BRIDGE_SECRET, OTHER_SECRET, "somebody else"):
        assert secret not in bridged.log.text
        assert secret not in bridged.command("config").stdout


async def test_the_newer_connection_takes_the_place_of_the_older(bridged, attach):
    old = await attach().attach()
    new = await attach().attach()
    await arrives(old.gone.wait(), "the end of the older connection")
    error = await arrives(old.stream_errors.get(), "a stream error")
    assert error["condition"] == "conflict"
    await arrives(new.plugin["xep_0199"].ping(BRIDGE, ifrom=f"a@{BRIDGE}"), "an answer from itself")
    bridged.becomes(1, "kinglet_component_connections")


def test_the_local_certificate_covers_components_below_its_domains(bridged):
    """Other servers find them here; for pubsub.test the authority may not vouch."""
    certificates = bridged.json("status")["certificates"]
    assert BRIDGE in certificates[0]["domains"]
    assert OTHER not in certificates[0]["domains"]


def test_without_components_there_is_no_port(make_server):
    server = make_server()
    server.start()
    assert "component" not in server.ports


@pytest.mark.parametrize("component, complaint", [
    ({"domain": BRIDGE, "secret": "too short"}, "16 bytes at least"),
    ({"domain": BRIDGE}, "expected secret or secret_file"),
    ({"domain": "example.test", "secret": BRIDGE_SECRET}, "is a domain of this server"),
    ({"domain": "a b", "secret": BRIDGE_SECRET}, "this cannot be a domain"),
    ({"domain": BRIDGE, "secret_file": "bridge.secret"}, "expected an absolute path"),
    ({"domain": BRIDGE, "secret_file": "/nowhere/secret"}, "/nowhere/secret: No such file"),
])
def test_a_component_that_cannot_be(make_server, component, complaint):
    """A mistake is named, without the secret."""
    server = make_server()
    configure(server, component)
    line = one_line(server.command("config", check=False))
    assert complaint in line and "components" in line
    assert component.get("secret", "-----") not in line


def test_a_component_given_twice(make_server):
    server = make_server()
    configure(
        server, {"domain": BRIDGE, "secret": BRIDGE_SECRET},
        {"domain": BRIDGE.upper(), "secret": OTHER_SECRET})
    assert "is given twice" in one_line(server.command("config", check=False))


def test_a_secret_that_everybody_can_read(make_server):
    server = make_server()
    secret = server.directory / "bridge.secret"
    secret.write_text(BRIDGE_SECRET)
    secret.chmod(0o644)
    configure(server, {"domain": BRIDGE, "secret_file": secret})
    line = one_line(server.command("config", check=False))
    assert "everybody can read this secret; chmod 600 it" in line


def test_components_connect_from_this_machine_alone(bridged):
    """There is no TLS in XEP-0114: by default nothing listens beyond loopback."""
    listener = next(
        one for one in bridged.json("status")["listeners"] if one["name"] == "component")
    assert listener["address"] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", listener["port"]), timeout=5) as connection:
        connection.sendall(b"<stream:stream xmlns='jabber:client' to='example.test'"
                           b" xmlns:stream='http://etherx.jabber.org/streams'>")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    assert b"invalid-namespace" in answer

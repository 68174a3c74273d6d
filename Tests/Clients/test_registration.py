"""In-band registration: accounts and passwords through the client (XEP-0077)."""

import pytest
from slixmpp.exceptions import IqError

from people import Person
from raw_client import RawClient
from stock_client import LoginRefused, StockClient
from waiting import arrives

REGISTER = "http://jabber.org/features/iq-register"


class Newcomer(StockClient):
    """A client that registers an account before it logs in."""

    def __init__(self, server, jid, password):
        super().__init__(server, jid, password, plugins=("xep_0077",))
        self.fields = set()
        self.add_event_handler("register", self._register)

    async def _register(self, form):
        self.fields = form["register"]["fields"]
        iq = self.make_iq_set()
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        await iq.send()


async def test_a_password_is_changed(connect, person):
    """XEP-0077 section 3.3: the new one works, the old one does not."""
    romeo = person()
    client = await connect(romeo, plugins=("xep_0077",))
    await arrives(
        client.plugin["xep_0077"].change_password("a new secret", jid=romeo.domain),
        "the change of the password")
    changed = Person(romeo.name, romeo.domain, "a new secret")
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-512", "PLAIN"):
        await connect(changed, mechanism=mechanism)
        with pytest.raises(LoginRefused):
            await connect(romeo, mechanism=mechanism)


@pytest.mark.parametrize("password", ["short", ""], ids=["short", "empty"])
async def test_a_short_password_is_not_acceptable(connect, person, password):
    """XEP-0077 section 3.3: not-acceptable, and the old one stays."""
    romeo = person()
    client = await connect(romeo, plugins=("xep_0077",))
    with pytest.raises(IqError) as error:
        await arrives(
            client.plugin["xep_0077"].change_password(password, jid=romeo.domain), "a refusal")
    assert error.value.condition == "not-acceptable"
    assert (await connect(romeo)).is_connected()


async def test_nobody_changes_the_password_of_another(connect, person):
    """XEP-0077 section 3.3: only one's own."""
    romeo, juliet = await connect(person(), plugins=("xep_0077",)), person()
    iq = romeo.make_iq_set(ito=juliet.domain)
    iq["register"]["username"] = juliet.name
    iq["register"]["password"] = "taken over"
    with pytest.raises(IqError) as error:
        await arrives(iq.send(), "a refusal")
    assert error.value.condition == "not-allowed"
    assert (await connect(juliet)).is_connected()


def test_registration_is_closed_by_default(server):
    """XEP-0077 section 3.1: not offered, not-allowed, counted, and there is no account."""
    before = server.refusals("registration_closed")
    with RawClient.secure(server) as client:
        assert REGISTER not in client.features
        for request in (
            "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
            "<iq type='set' id='2'><query xmlns='jabber:iq:register'>"
            "<username>paris</username><password>county palatine</password></query></iq>",
        ):
            client.send(request)
            assert "not-allowed" in client.read_through("</iq>")
    assert server.refusals("registration_closed") == before + 2
    assert "there is no user" in server.command(
        "user", "show", f"paris@{server.domain}", check=False).stderr


async def test_open_registration(make_server):
    """XEP-0077 section 3.1: a stock client makes its account and logs in with it."""
    kinglet = make_server(settings={"registration.policy": "open"}).start()
    paris = Newcomer(kinglet, "paris@example.test", "county palatine")
    await paris.log_in()
    assert paris.fields == {"username", "password"}
    await paris.leave()
    assert [user["jid"] for user in kinglet.json("user", "list")] == [
        "admin@example.test", "paris@example.test"]

    with RawClient.secure(kinglet) as client:
        assert REGISTER in client.features
        client.send(
            "<iq type='set' id='1'><query xmlns='jabber:iq:register'>"
            "<username>Paris</username><password>an impostor</password></query></iq>")
        assert "<conflict" in client.read_through("</iq>")


def test_registration_needs_tls(make_server):
    """XEP-0077 section 6: nobody sends a password in clear."""
    kinglet = make_server(settings={"registration.policy": "open"}).start()
    with RawClient.plain(kinglet) as client:
        assert REGISTER not in client.features
        client.send(
            "<iq type='set' id='1'><query xmlns='jabber:iq:register'>"
            "<username>paris</username><password>county palatine</password></query></iq>")
        assert "not-authorized" in client.read_to_end()


async def test_an_account_is_cancelled(connect, server):
    """XEP-0077 section 3.2: the account and its sessions end."""
    tybalt = Person("tybalt", server.domain, "prince of cats")
    server.add_user(tybalt.jid, tybalt.password)
    client = await connect(tybalt, plugins=("xep_0077",))
    other = await connect(tybalt)
    await arrives(
        client.plugin["xep_0077"].cancel_registration(jid=server.domain), "the cancellation")
    await arrives(other.gone.wait(), "the end of the other session")
    assert "there is no user" in server.command(
        "user", "show", tybalt.jid, check=False).stderr

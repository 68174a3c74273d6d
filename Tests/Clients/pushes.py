"""An app of the test's, with a fake of its provider, and a client that is woken through it."""

import json
import xml.etree.ElementTree as ElementTree

from fake_fcm import google_error
from waiting import arrives

COMMANDS = "http://jabber.org/protocol/commands"
FORM = "jabber:x:data"


def plan(kinglet, fake, authority):
    """Writes the app into the configuration, which has none yet; JSON is YAML."""
    account = fake.write_service_account(kinglet.directory / "account.json")
    push = {
        "authorities": str(authority.file), "window": "2s",
        "apps": [{
            "name": "chat", "provider": "fcm", "url": fake.url, "token_url": fake.token_url,
            "service_account_file": str(account)}],
    }
    with open(kinglet.configuration, "a", encoding="utf-8") as file:
        file.write(f"\npush: {json.dumps(push)}\n")


async def register(client, token, node):
    """Registers a device at the server's own app server; gives node and secret."""
    iq = client.make_iq_set(ito=f"push.{client.boundjid.domain}")
    command = ElementTree.SubElement(iq.xml, f"{{{COMMANDS}}}command", {
        "node": "v1-register-push", "action": "execute"})
    command.append(form(type="fcm", node=node, token=token))
    answer = await arrives(iq.send(), "an answer to the registration")
    return {
        field.get("var"): field.findtext(f"{{{FORM}}}value")
        for field in answer.xml.iter(f"{{{FORM}}}field")}


async def enable(client, token, node):
    """Registers a device and has its account woken there (XEP-0357 section 5)."""
    made = await register(client, token, node)
    iq = client.make_iq_set()
    enable = ElementTree.SubElement(iq.xml, "{urn:xmpp:push:0}enable", {
        "jid": made["jid"], "node": made["node"]})
    enable.append(form(
        FORM_TYPE="http://jabber.org/protocol/pubsub#publish-options", secret=made["secret"]))
    await arrives(iq.send(), "an answer to the enabling")


def form(**values):
    element = ElementTree.Element(f"{{{FORM}}}x", {"type": "submit"})
    for name, value in values.items():
        field = ElementTree.SubElement(element, f"{{{FORM}}}field", {"var": name})
        ElementTree.SubElement(field, f"{{{FORM}}}value").text = value
    return element


def is_busy(fake, token):
    """The provider takes the next push for this device at the second try."""
    fake.script(token, google_error(
        429, "RESOURCE_EXHAUSTED", "Too many messages for this device.",
        [{"@type": "type.googleapis.com/google.rpc.QuotaFailure",
          "violations": [{"subject": f"device:{token}"}]}], retry_after=1))

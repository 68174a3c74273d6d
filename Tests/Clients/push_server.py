"""A Kinglet whose pushes go to fakes, and devices that register with it as stock apps do."""

import hashlib

from correspondent import Correspondent
from fake_apns import FakeAPNs
from fake_fcm import FakeFCM
from fake_gotify import FakeGotify
from fake_ntfy import FakeNtfy
from fake_web_push import FakeWebPush
from people import Person
from waiting import arrives

# A server that may reach what stands on loopback, and nothing else.
OPEN = {
    "listen.addresses": "127.0.0.1", "listen.client_port": 0, "listen.client_tls_port": 0,
    "listen.server_port": 0, "listen.web_port": 0, "metrics.port": 0, "hardware.ups": '""',
    "federation.policy": "off", "push.allow_private_targets": "true",
}
DATA = "jabber:x:data"
PUSH = "urn:xmpp:push:0"


class PushWorld:
    """Fakes of five providers, and a server that has credentials for them."""

    def __init__(self, authority, directory, stops):
        self.authority = authority
        self.directory = directory
        self.apns = stops.enter_context(FakeAPNs(authority, topics=["org.example.chat"]))
        self.fcm = stops.enter_context(FakeFCM(authority, project="chat-1"))
        self.web = stops.enter_context(FakeWebPush(authority))
        self.ntfy = stops.enter_context(FakeNtfy(authority))
        self.gotify = stops.enter_context(FakeGotify(authority))

    @property
    def settings(self):
        """What the configuration says of pushes."""
        key = self.directory / "apns.p8"
        key.write_text(self.apns.key.pem)
        key.chmod(0o600)
        account = self.directory / "fcm.json"
        self.fcm.write_service_account(account)
        account.chmod(0o600)
        apps = [
            f"{{name: ios, provider: apns, topic: org.example.chat, key_file: {key}, "
            f"key_id: {self.apns.key_id}, team_id: {self.apns.team_id}, url: '{self.apns.url}'}}",
            f"{{name: android, provider: fcm, service_account_file: {account}, "
            f"url: '{self.fcm.url}', token_url: '{self.fcm.url}/token', default: true}}",
        ]
        return {
            **OPEN, "push.authorities": self.authority.file, "push.window": "0s",
            "push.contact": "mailto:admin@example.org", "push.apps": f"[{', '.join(apps)}]"}

    def check(self):
        for fake in (self.apns, self.fcm, self.web, self.ntfy, self.gotify):
            fake.check()


class Device(Correspondent):
    """An app on a phone that can be woken."""

    async def run(self, service, node, fields):
        """Runs an ad-hoc command in one step (XEP-0050), as apps do; gives the form that it ends
        with."""
        iq = self.make_iq_set(ito=service)
        command = self._child(iq.xml, "http://jabber.org/protocol/commands", "command")
        command.set("node", node)
        command.set("action", "execute")
        form = self._child(command, DATA, "x")
        form.set("type", "submit")
        for name, value in fields.items():
            field = self._child(form, DATA, "field")
            field.set("var", name)
            self._child(field, DATA, "value").text = value
        answer = await arrives(iq.send(), f"the answer to {node}")
        return {
            field.get("var"): field.findtext(f"{{{DATA}}}value")
            for field in answer.xml.iter(f"{{{DATA}}}field")}

    @staticmethod
    def _child(parent, namespace, name):
        from xml.etree import ElementTree
        return ElementTree.SubElement(parent, f"{{{namespace}}}{name}")

    async def enable(self, service, node, secret=None):
        """XEP-0357 section 5."""
        iq = self.make_iq_set()
        enable = self._child(iq.xml, PUSH, "enable")
        enable.set("jid", service)
        enable.set("node", node)
        if secret is not None:
            form = self._child(enable, DATA, "x")
            form.set("type", "submit")
            for name, value in {
                    "FORM_TYPE": "http://jabber.org/protocol/pubsub#publish-options",
                    "secret": secret}.items():
                field = self._child(form, DATA, "field")
                field.set("var", name)
                self._child(field, DATA, "value").text = value
        await arrives(iq.send(), "the answer to enable")

    async def disable(self, service, node=None):
        """XEP-0357 section 6."""
        iq = self.make_iq_set()
        disable = self._child(iq.xml, PUSH, "disable")
        disable.set("jid", service)
        if node:
            disable.set("node", node)
        await arrives(iq.send(), "the answer to disable")

    async def register_as_conversations(self, service, token, device="device-1", kind="fcm"):
        """What Conversations does at its app server (p2)."""
        form = await self.run(
            service, f"register-push-{kind}", {"token": token, "device-id": device})
        await self.enable(form["jid"], form["node"], form["secret"])
        return form

    def account_hash(self, device="device-1"):
        """By what Conversations knows an account in a push."""
        return hashlib.sha1(f"{self.boundjid.bare}\0{device}".encode()).hexdigest()


def person(name, domain="example.test"):
    return Person(name, domain, f"password of {name}")

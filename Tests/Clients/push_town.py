"""A server with an app of each provider, people whose devices register by HTTP, and a program that
tells them something."""

from fake_vendors import FAKES
from people import Person
from push_api import Interface
from push_sites import World

MAKERS = sorted(FAKES)
PEOPLE = ["anna", "ben", "cleo", "dora", "emil", "fina"]


class Town:
    """A server with an app of each provider, users, and a program that may do everything."""

    def __init__(self, authority, directory, stops, **settings):
        self.world = World(
            authority, directory, stops,
            [(provider, 1) for provider in (*MAKERS, "apns", "fcm")], settings, PEOPLE)
        self.kinglet = self.world.kinglet
        self.program = Interface.of_program(
            self.kinglet, "--scope", "send,broadcast,devices", "--rate", "60000")
        self.numbers = iter(range(1, 1000))
        self.registered = set()

    def app(self, name):
        """What the app of a user asks with."""
        self.registered.add(name)
        return Interface.of_user(
            self.kinglet, f"{name}@{self.kinglet.domain}", self.world.password(name))

    def clear(self):
        """No device is left."""
        for name in list(self.registered):
            app = self.app(name)
            for device in app.get("/api/v1/registrations").json["devices"]:
                assert app.ask(
                    "DELETE", f"/api/v1/registrations/{device['device']}").status == 204
        self.registered.clear()

    def jid(self, name):
        return f"{name}@{self.kinglet.domain}"

    def person(self, name):
        return Person(name, self.kinglet.domain, self.world.password(name))

    def name(self, provider):
        """Of its app."""
        return self.world.sites[provider, 1].name

    def fake(self, provider):
        return self.world.sites[provider, 1].fake

    def token(self, provider):
        number = next(self.numbers)
        return f"{number:064x}" if provider == "apns" else f"{provider}-phone-{number}"

    def phone(self, name, *providers, device="phone", **fields):
        """Registers a device with a token of each; gives the tokens."""
        tokens = [self.token(provider) for provider in providers]
        reply = self.app(name).register(device, *zip(providers, tokens), **fields)
        assert reply.status in (200, 201), reply
        return tokens if len(tokens) > 1 else tokens[0]

    def send(self, to, **message):
        reply = self.program.send(to, **message)
        assert reply.status == 202, reply
        assert reply.headers["Location"] == f"/api/v1/tasks/{reply.json['id']}"
        return reply.json["id"]

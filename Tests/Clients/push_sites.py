"""Services with devices, and a server that wakes them: for each its fake, its registration by the
shortest way, and what the server's database knows of it."""

import concurrent.futures
import itertools

from fake_apns import FakeAPNs
from fake_fcm import FakeFCM
from fake_gotify import FakeGotify
from fake_ntfy import FakeNtfy
from fake_vendors import FAKES
from fake_web_push import FakeWebPush
from kinglet import FAST_KEYS, Kinglet
from push_publisher import Publisher
from push_server import OPEN
from push_state import PushState
from waiting import LONG, eventually


class Site:
    """One service with one device, and what the server knows of them."""

    def __init__(self, world, provider, number):
        self.world = world
        self.number = number
        self.name = f"{provider}-{number}"
        self.account = f"{self.name}@example.test"
        self.fake = world.stops.enter_context(self.service(world.authority))

    def until(self, condition, description, timeout=LONG):
        return eventually(
            condition, lambda: f"{description}; {self.row()}, {self.waiting()}, {self.dead()}, "
            f"{self.fake.requests}", timeout)

    def row(self):
        return self.rows()[0]

    def waiting(self):
        return self.world.state.waiting(self.row()["id"])

    def dead(self):
        return self.world.state.dead(self.row()["id"])

    def circuit(self):
        """None where it has nothing to do and nothing has failed."""
        name = self.row()["circuit"]
        circuits = self.world.kinglet.json("push", "providers")["circuits"]
        return next((circuit for circuit in circuits if circuit["name"] == name), None)

    @property
    def is_open(self):
        circuit = self.circuit()
        return circuit is not None and circuit["state"] == "open"


class App(Site):
    """A device that nobody registered: its node is its token."""

    def register(self):
        pass

    def wake(self):
        return self.world.publisher.publish(self.token, pushModule=self.name)

    def rows(self):
        return self.world.state.devices(self.name)


class Apple(App):
    def service(self, authority):
        fake = FakeAPNs(authority)
        # A key of its own, for a key has one token at a time.
        fake.key_id = f"KEY{self.number:07}"
        fake.add_key(fake.key_id, fake.team_id)
        self.token = f"{self.number:064x}"
        return fake

    def app(self, directory):
        file = directory / f"{self.name}.p8"
        file.write_text(self.fake.key.pem)
        file.chmod(0o600)
        return (
            f"provider: apns, topic: org.example.app, key_file: {file}, "
            f"key_id: {self.fake.key_id}, team_id: {self.fake.team_id}, url: '{self.fake.url}'")


class Google(App):
    def service(self, authority):
        self.token = f"token-of-google-{self.number}"
        return FakeFCM(authority)

    def app(self, directory):
        file = self.fake.write_service_account(directory / f"{self.name}.json")
        return (
            f"provider: fcm, service_account_file: {file}, url: '{self.fake.url}', "
            f"token_url: '{self.fake.token_url}'")


class Maker(App):
    """A telephone of a maker that has a service of its own."""

    def __init__(self, world, provider, number):
        self.provider = provider
        super().__init__(world, provider, number)

    def service(self, authority):
        self.token = f"token-of-{self.provider}-{self.number}"
        return FAKES[self.provider](authority)

    def app(self, directory):
        fake = self.fake
        file = directory / f"{self.name}.secret"
        file.write_text(f"{fake.secret}\n")
        file.chmod(0o600)
        fields = {"provider": self.provider, "secret_file": file, "url": fake.url}
        if self.provider in ("huawei", "honor", "vivo", "meizu"):
            fields["app_id"] = fake.app_id
        if self.provider in ("oppo", "vivo"):
            fields["app_key"] = fake.app_key
        if self.provider in ("huawei", "honor"):
            fields["token_url"] = fake.url + fake.login_paths[0]
        if self.provider == "xiaomi":
            fields["package"] = "org.example.app"
        return ", ".join(f"{name}: '{value}'" for name, value in fields.items())


class Own(Site):
    """A target of a user's own."""

    def wake(self):
        self.world.publisher.say(self.account)

    def rows(self):
        return self.world.state.of_account(self.account)

    def add(self, *arguments, secret=None):
        if secret:
            arguments = *arguments, "--secret-stdin"
        self.world.kinglet.command("push", "add", self.account, *arguments, stdin=secret or "")


class Web(Own):
    def service(self, authority):
        fake = FakeWebPush(authority)
        self.subscription = fake.subscribe()
        self.token = self.subscription.token
        return fake

    def register(self):
        self.add(
            "--unifiedpush", self.subscription.endpoint, "--p256dh", self.subscription.p256dh,
            secret=self.subscription.auth)


class Ntfy(Own):
    def service(self, authority):
        self.token = FakeNtfy.new_topic()
        return FakeNtfy(authority)

    def register(self):
        self.add("--ntfy", f"{self.fake.url}/{self.token}")


class Gotify(Own):
    def service(self, authority):
        fake = FakeGotify(authority)
        self.token = fake.add_application()
        return fake

    def register(self):
        self.add("--gotify", self.fake.url, secret=self.token)


KINDS = {"apns": Apple, "fcm": Google, "web-push": Web, "ntfy": Ntfy, "gotify": Gotify,
         **dict.fromkeys(FAKES, Maker)}


class World:
    """A server, and a site for each of these names: pairs of a provider and anything."""

    def __init__(self, authority, directory, stops, names, settings=None, people=()):
        """`people` are names of accounts besides those that sites need; see `password`."""
        self.authority, self.stops = authority, stops
        numbers = itertools.count(1)
        self.sites = {name: KINDS[name[0]](self, name[0], next(numbers)) for name in names}
        apps = [
            f"{{name: {site.name}, {site.app(directory)}}}"
            for site in self.sites.values() if isinstance(site, App)]
        self.kinglet = Kinglet(directory, settings={
            **FAST_KEYS, **OPEN, **Publisher.settings(), "push.window": "0s",
            "push.authorities": authority.file, "push.contact": "mailto:admin@example.org",
            "push.apps": f"[{', '.join(apps)}]", **(settings or {})})
        self.kinglet.initialize()
        names = [site.name for site in self.sites.values() if isinstance(site, Own)]
        file = directory / "people"
        file.write_text("".join(
            f"{name} {self.password(name)}\n" for name in [*names, *people]))
        self.kinglet.command("user", "import", file)
        self.state = PushState(self.kinglet)
        self.publisher = None
        self.start()
        stops.callback(self.stop)

    @staticmethod
    def password(name):
        return f"password of {name}"

    def start(self, **options):
        self.kinglet.start(isolated=False, **options)
        self.publisher = Publisher(self.kinglet)

    def stop(self):
        self.publisher.close()
        self.kinglet.stop()

    def kill(self):
        self.kinglet.crash()
        self.publisher.close()

    def site(self, name):
        site = self.sites[name]
        site.register()
        return site

    def register_all(self):
        """Several at one time, for each may be a command."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(site.register) for site in self.sites.values()]:
                done.result()
        return self

"""The scenarios of Tests/Scenarios over TCP and TLS; CONTRIBUTING.md describes their form.

The accounts are those of the shared server: in what is sent and expected, an address such as
romeo@example.test is replaced by that of the account that plays Romeo.
"""

import base64
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import pytest

from kinglet import REPOSITORY
from raw_client import STREAM_END, RawClient
from waiting import eventually

DOMAIN = "example.test"
FILES = sorted((REPOSITORY / "Tests/Scenarios").glob("*.scenario"))
HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
OPTIONAL = (
    "{urn:ietf:params:xml:ns:xmpp-stanzas}text", "{urn:ietf:params:xml:ns:xmpp-streams}text",
    "{urn:xmpp:sid:0}stanza-id")
ANYTHING = "{any}"
REQUEST = "{urn:xmpp:sm:3}r"
# Answered once what the client sent before is on the disk.
QUESTION = "<iq type='get' id='quiet'><metadata xmlns='urn:xmpp:mam:2'/></iq>"


@dataclass
class Step:
    """One line that is not indented, and the indented lines after it."""

    place: str
    subject: str
    action: str
    block: str


def steps_of(file):
    steps = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.startswith(" ") and steps:
            steps[-1].block += line.lstrip() + "\n"
        elif line and not line.startswith("#"):
            subject, _, action = line.partition(" ")
            steps.append(Step(f"{file.name}:{number}", subject, action, ""))
    return steps


def elements_in(text):
    return list(ElementTree.fromstring(HEADER + text + STREAM_END))


def accepts(value, expected, named):
    """Whether a value is the one that was expected. `{any}` stands for any; `{name}` for any where
    it is met first, and for that value from then on."""
    if not re.fullmatch(r"{\w+}", expected):
        return value == expected
    return expected == ANYTHING or named.setdefault(expected, value) == value


def matches(element, expected, named):
    """Whether this is what was expected: all attributes and children, in order. `{any}` stands
    for any value or content, another name in braces for one value; `id`, `xml:lang`, the <text/> of
    an error and <stanza-id/> count only where they are expected."""
    if element.tag != expected.tag:
        return False
    for name, value in expected.attrib.items():
        if name not in element.attrib or not accepts(element.get(name), value, named):
            return False
    if element.attrib.keys() - expected.attrib.keys() - {"id", LANGUAGE}:
        return False
    if not len(expected) and expected.text == ANYTHING:
        return True
    wanted = {child.tag for child in expected}
    children = [child for child in element if child.tag not in OPTIONAL or child.tag in wanted]
    if not len(expected) or not children:
        return len(children) == len(expected) and accepts(
            element.text or "", expected.text or "", named)
    return (
        len(children) == len(expected) and spoken(element) == spoken(expected)
        and all(matches(child, other, named) for child, other in zip(children, expected)))


def spoken(element):
    """The texts between the children; white space only sets these apart."""
    parts = [element.text, *(child.tail for child in element)]
    return [part for part in parts if part and part.strip()]


def bare(actor):
    return actor.jid.partition("/")[0]


def readable(elements):
    return "\n".join(ElementTree.tostring(element, "unicode") for element in elements)


class Actor:
    """A client, and what it has been sent that no step has asked for yet."""

    def __init__(self, client, jid=None):
        self.client = client
        self.jid = jid
        self.unread = []
        self._has_ended = False
        self._restart()
        if jid:
            self._parse(HEADER)

    def open_stream(self):
        self.client.send(self.client.header())
        self._restart()
        while self._header is None:
            self._read()
        assert (self._header.get("from"), self._header.get("version")) == (DOMAIN, "1.0")

    def next(self):
        while not self.unread:
            assert not self._has_ended, "the stream ended"
            self._read()
        return self.unread.pop(0)

    def ask(self):
        """Reads everything up to the answer to a question."""
        self.client.send(QUESTION)
        others = []
        while (element := self.next()).get("id") != "quiet":
            others.append(element)
        self.unread = others + self.unread

    def expect_nothing(self):
        assert not self.unread, f"receives {readable(self.unread)}"

    def expect_end(self):
        while not self._has_ended:
            self._read()
        self.expect_nothing()
        assert self.client.read_to_end() == ""
        self.client.connection.close()

    def _restart(self):
        self._parser = ElementTree.XMLPullParser(["start", "end"])
        self._header = None
        self._depth = 0

    def _read(self):
        self._parse(self.client.read_some())

    def _parse(self, text):
        self._parser.feed(text)
        for event, element in self._parser.read_events():
            self._depth += 1 if event == "start" else -1
            if self._header is None:
                self._header = element
            elif event == "end" and self._depth == 1:
                # The server asks what its client got, which depends on the time.
                if element.tag != REQUEST:
                    self.unread.append(element)
            elif event == "end" and self._depth == 0:
                self._has_ended = True


class Play:
    """A scenario that is being played."""

    def __init__(self, server, people):
        self.server = server
        self.people = people
        self.actors = {}
        self.named = {}

    def play(self, step):
        action = step.action
        text = step.block
        for name, person in self.people.items():
            text = re.sub(rf"\b{name}@{DOMAIN}\b", person.jid, text)
        if found := re.fullmatch(r"is (online|connected) as (\S+)", action):
            actor = self.connect(step.subject, found[2])
            if found[1] == "online":
                self.come_online(actor)
            return
        if found := re.fullmatch(r"comes back as (\S+)", action):
            self.come_back(step.subject, found[1])
            return
        if action == "opens a stream":
            if step.subject not in self.actors:
                self.actors[step.subject] = Actor(RawClient.connected(self.server))
            self.actors[step.subject].open_stream()
            return
        if action.startswith("befriends "):
            self.befriend(step.subject, action.split()[1])
            return
        assert step.subject in self.actors, "is not connected"
        actor = self.actors[step.subject]
        if action == "sends:":
            person = self.people[step.subject.partition("/")[0]]
            message = base64.b64encode(f"\0{person.name}\0{person.password}".encode()).decode()
            for name, value in self.named.items():
                text = text.replace(name, value)
            actor.client.send(
                text.replace("{plain}", message).replace("{username}", person.name))
        elif action in ("receives:", "receives in any order:"):
            self.receive(actor, elements_in(text), "order" in action)
        elif action == "receives nothing":
            self.settle()
            actor.expect_nothing()
        elif action == "leaves":
            actor.client.send(STREAM_END)
            actor.expect_end()
            self.forget(actor)
        elif action == "is disconnected":
            actor.expect_end()
            self.forget(actor)
        elif action == "is cut off":
            actor.client.abort()
            self.forget(actor)
            # What is sent from now on does not go to the dead connection.
            eventually(lambda: self.connected() == len(self.bound), "only the others are left")
        else:
            raise AssertionError("no such step")

    def connect(self, name, resource):
        """Logs in. Who acts by name alone is the one who came first."""
        client = RawClient.logged_in(self.server, self.people[name], resource)
        return self.add(client, name, resource)

    def come_back(self, name, resource):
        """Logs in and binds nothing, to resume its stream (XEP-0198)."""
        client = RawClient.secure(self.server)
        client.log_in(self.people[name])
        self.add(client, name, resource)

    def add(self, client, name, resource):
        actor = Actor(client, f"{self.people[name].jid}/{resource}")
        self.actors.setdefault(name, actor)
        self.actors[f"{name}/{resource}"] = actor
        return actor

    def come_online(self, actor):
        actor.client.send(
            "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
        others = []
        awaited = 2
        while awaited:
            element = actor.next()
            if element.get("id") == "roster" or (
                    element.tag == "{jabber:client}presence" and element.get("from") == actor.jid):
                awaited -= 1
            else:
                others.append(element)
        actor.unread = others + actor.unread

    def befriend(self, one, other):
        """Each sees the other's presence from now on (RFC 6121 section 3.1)."""
        one, other = self.actors[one], self.actors[other]
        seen = {one: [], other: []}

        def awaits(actor, fits):
            while not any(map(fits, seen[actor])):
                seen[actor].append(actor.next())

        for asking, asked in ((one, other), (other, one)):
            asking.client.send(f"<presence to='{bare(asked)}' type='subscribe'/>")
            awaits(asked, lambda element: element.get("type") == "subscribe")
            asked.client.send(f"<presence to='{bare(asking)}' type='subscribed'/>")
            awaits(asking, lambda element: element.get("from") == asked.jid)
        for actor in (one, other):
            awaits(actor, lambda element: element.find("*/*[@subscription='both']") is not None)

    def receive(self, actor, missing, in_any_order):
        while missing:
            element = actor.next()
            candidates = missing if in_any_order else missing[:1]
            for fit in candidates:
                named = dict(self.named)
                if matches(element, fit, named):
                    self.named = named
                    break
            else:
                raise AssertionError(
                    f"receives {readable([element])}\ninstead of {readable(candidates)}")
            missing.remove(fit)

    def forget(self, actor):
        self.actors = {name: one for name, one in self.actors.items() if one is not actor}

    def settle(self):
        """What anybody has sent is handled, and what that set off has come."""
        for _ in range(2):
            for actor in self.bound:
                actor.ask()

    def connected(self):
        """How many sessions the server has whose clients are there."""
        return int(
            self.server.metric("kinglet_sessions")
            - self.server.metric("kinglet_sessions_hibernating"))

    @property
    def bound(self):
        return {id(actor): actor for name, actor in self.actors.items() if "/" in name}.values()

    def expect_quiet(self):
        self.settle()
        for actor in self.bound:
            actor.expect_nothing()

    def close(self):
        for actor in self.actors.values():
            actor.client.connection.close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(server, person, file):
    """Every one goes as it is written."""
    steps = steps_of(file)
    assert steps, file
    names = {step.subject.partition("/")[0]: None for step in steps}
    play = Play(server, {name: person() for name in names})
    step = steps[0]
    try:
        for step in steps:
            play.play(step)
        play.expect_quiet()
    except (AssertionError, ElementTree.ParseError) as failure:
        problem = f"{step.place}: {step.subject} {step.action}\n{failure}"
    else:
        problem = None
    finally:
        play.close()
    if problem:
        pytest.fail(problem, pytrace=False)

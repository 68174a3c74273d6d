"""Scenario scripts (CONTRIBUTING.md has the format): what people send and what they see."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "Scenarios"
ROOT = "<root xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True)
class Step:
    """One line, with the XML that is indented below it."""

    line: int
    actor: str
    words: tuple
    block: str


def steps(path):
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("  "):
            last = found[-1]
            found[-1] = Step(last.line, last.actor, last.words, last.block + line.lstrip(" "))
        elif line and not line.startswith("#"):
            actor, *words = line.split()
            found.append(Step(number, actor, tuple(words), ""))
    return found


def element(text):
    return ET.fromstring(f"{ROOT}{text}</root>")[0]


def difference(found, wanted):
    """Why an element is not the expected one; None if it is. `{any}` stands for any value; `id`
    and `xml:lang` matter only where they are expected."""
    if found.tag != wanted.tag:
        return f"{found.tag} instead of {wanted.tag}"
    for name, value in wanted.attrib.items():
        if value != "{any}" and found.get(name) != value or name not in found.attrib:
            return f"{name}={found.get(name)!r} instead of {value!r}"
    for name in found.attrib:
        if name not in wanted.attrib and name not in ("id", LANGUAGE):
            return f"{name}={found.get(name)!r} in {found.tag}"
    if [child.tag for child in found] != [child.tag for child in wanted]:
        return f"{[child.tag for child in found]} instead of {[child.tag for child in wanted]}"
    if not len(wanted) and wanted.text != "{any}" and (found.text or "") != (wanted.text or ""):
        return f"{found.text!r} instead of {wanted.text!r}"
    for child, expected in zip(found, wanted):
        if reason := difference(child, expected):
            return reason
    return None


class Actor:
    """A logged in client that reads element by element."""

    def __init__(self, client):
        self.client = client
        self.jid = None
        self._parser = ET.XMLPullParser(["start", "end"])
        self._parser.feed(ROOT)
        self._depth = 0
        self._elements = []
        self._pings = 0

    def next(self):
        while not self._elements:
            text = self.client.take() or self.client.more()
            self._parser.feed(text)
            for kind, node in self._parser.read_events():
                self._depth += 1 if kind == "start" else -1
                if kind == "end" and self._depth == 1:
                    self._elements.append(node)
        return self._elements.pop(0)

    def before_pong(self):
        """What comes before the answer to a ping."""
        self._pings += 1
        name = f"still-{self._pings}"
        self.client.send(f"<iq type='get' id='{name}'><ping xmlns='urn:xmpp:ping'/></iq>")
        found = []
        while (node := self.next()).get("id") != name:
            found.append(node)
        return found

    def put_back(self, elements):
        self._elements = elements + self._elements

    def come_online(self):
        self.client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
        while self.next().get("id") != "roster":
            pass
        self.client.send("<presence><priority>0</priority></presence>")
        while self.next().get("from") != self.jid:
            pass


def named(text, people):
    """The script with the addresses of the people who play in it."""
    return re.sub(
        r"\b([a-z]+)@example\.test",
        lambda found: people[found[1]].jid if found[1] in people else found[0], text)

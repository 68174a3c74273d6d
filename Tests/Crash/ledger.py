"""Who sent what, what became of it, and what must not have."""

import collections
import time

# So much of what a receiver did is told with a violation.
EVENTS = 20


class Message:
    """A message and its story."""

    __slots__ = (
        "sender", "receiver", "number", "acknowledged_by", "sent_in", "refusals", "refused_in",
        "is_found", "stanza_id", "archived", "is_settled", "story")

    def __init__(self, sender, receiver, number):
        self.sender, self.receiver, self.number = sender, receiver, number
        # How its sender learnt that the server has it.
        self.acknowledged_by = None
        # The lives of the server in which it was sent, one for each time.
        self.sent_in = []
        # How often it was answered with an error.
        self.refusals = 0
        # The life of the server in which it was last sent and then answered with an error.
        self.refused_in = None
        # Its receiver has it.
        self.is_found = False
        self.stanza_id = None
        # Archive ids by owner.
        self.archived = {}
        # It was delivered, and the server had the time to note that.
        self.is_settled = False
        self.story = []

    def __str__(self):
        return f"{self.sender} {self.number} to {self.receiver}"

    @property
    def body(self):
        return f"{self.sender} {self.number}"

    @property
    def has_no_place(self):
        """It was sent more than once, and each time may have been refused: whichever was not gave
        it its place among the others."""
        return len(self.sent_in) > 1 and any(life.has_faults for life in self.sent_in)


class Ledger:
    """Every message of a campaign. What it finds wrong is in `violations`.

    tallies: a counter by what happened.
    """

    def __init__(self, tallies):
        self.tallies = tallies
        self.life = None
        self.violations = []
        self._messages = {}
        # Not yet known to be where they belong.
        self._open = {}
        # What came in the present session of each receiver, and last from each sender.
        self._sessions = {}
        self._began = time.monotonic()
        self._events = collections.defaultdict(lambda: collections.deque(maxlen=EVENTS))

    def violate(self, text, message=None, account=None):
        """Puts down something that is wrong, with a message's story and what its receiver, or this
        account, did last."""
        lines = [text]
        if message is not None:
            lines = [f"{message}", *(f"    {line}" for line in message.story), text]
            account = message.receiver
        lines += [f"    {line}" for line in self._events.get(account, ())]
        self.violations.append("\n".join(lines))

    def note(self, message, text):
        message.story.append(self._dated(text))

    def event(self, device, text):
        """Something that a device did, for the stories of its account's messages."""
        self._events[device.person.name].append(self._dated(f"{device} {text}"))

    def _dated(self, text):
        return f"{time.monotonic() - self._began:.3f} s, life {self.life.number}: {text}"

    # The sender's side

    def sent(self, sender, receiver, number):
        message = Message(sender, receiver, number)
        self._messages[message.body] = self._open[message.body] = message
        self.tallies["messages"] += 1
        return message

    def sending(self, message, text):
        """It goes to the server, for the first time or again."""
        message.sent_in.append(self.life)
        self.note(message, text)

    def acknowledged(self, message, how):
        self.note(message, f"acknowledged ({how})")
        message.acknowledged_by = how
        self.tallies["acknowledged"] += 1

    def refused(self, message, condition):
        """Answered with an error: it may be found later, once, for a write that failed may yet
        turn out to have happened."""
        self.note(message, f"refused: {condition}")
        self.tallies["refused"] += 1
        message.refused_in = message.sent_in[-1]
        message.refusals += 1
        self._open.pop(message.body, None)
        # A session that is resumed after a stop may bring the error of an earlier life.
        if any(life.is_stopping for life in message.sent_in):
            self.tallies["refused while stopping"] += 1
        elif not any(life.has_faults for life in message.sent_in):
            self.violate("refused, though nothing is wrong with the disk", message)
        elif condition not in ("resource-constraint", "internal-server-error"):
            self.violate("refused for the wrong reason", message)

    # The receiver's side

    def message(self, body, receiver):
        """The message with this body, which names it; None, and a violation, if there is none."""
        words = (body or "").split(" ")
        message = self._messages.get(" ".join(words[:2]))
        if message is None:
            self.violate(f"{receiver} found a message that nobody sent: {body!r}")
        elif receiver not in (message.receiver, message.sender):
            self.violate(f"found by {receiver}", message)
        return message

    def delivered(self, device, body, stanza_id, waited=False):
        """A message came on a stream, at once or from the offline store."""
        receiver = device.person.name
        message = self.message(body, receiver)
        if message is None:
            return
        self.note(message, f"delivered to {device} in session {device.session} as {stanza_id}"
                  f"{', having waited' if waited else ''}")
        self._is_in_order(device, message)
        if message.refused_in is self.life and message.refusals >= len(message.sent_in):
            self.violate("refused and delivered all the same", message)
        if stanza_id is None:
            self.violate("delivered without a stanza id", message)
        if message.stanza_id is not None:
            self.tallies["delivered again"] += 1
        if message.is_settled:
            self.violate("delivered again, though it was delivered in order", message)
        message.stanza_id = message.stanza_id or stanza_id
        self._is_known_as(message, stanza_id)
        message.is_found = True

    def _is_in_order(self, device, message):
        """RFC 6120 section 10.1, and not twice."""
        session, seen, last = self._sessions.get(device.person.name, (None, set(), {}))
        if session != device.session:
            seen, last = set(), {}
            self._sessions[device.person.name] = device.session, seen, last
        if message in seen:
            self.tallies["doubled"] += 1
            self.violate("delivered twice in one session", message)
        seen.add(message)
        earlier = last.get(message.sender)
        if earlier is not None and message.number < earlier.number:
            self.tallies["overtaken"] += 1
            if not message.has_no_place:
                story = "\n    ".join([str(earlier), *earlier.story])
                self.violate(f"delivered after {story}", message)
        # Before its presence a session gets what is sent to its full address and not what waits
        # (RFC 6121 section 8.5.3.1).
        elif device.is_available:
            last[message.sender] = message

    def caught_up(self, device, body, archive_id):
        """A message came from the archive, in the receiver's own query for what it lacks."""
        message = self.message(body, device.person.name)
        if message is None or message.receiver != device.person.name:
            return
        self._is_known_as(message, archive_id)
        if not message.is_found:
            self.note(message, f"found by {device} in the archive as {archive_id}")
            self.tallies["found in the archive"] += 1
        message.is_found = True

    def _is_known_as(self, message, name):
        """Its archive id is its name: a second name is a second message."""
        names = {message.stanza_id, message.archived.get(message.receiver), name} - {None}
        if len(names) > 1:
            self.tallies["doubled"] += 1
            self.violate(f"doubled: it is known as {' and '.join(sorted(names))}", message)

    def found_by(self, receiver):
        return [message for message in self._messages_of(receiver) if message.is_found]

    @staticmethod
    def settle(messages):
        """All that followed from their delivery was committed: they do not come again."""
        for message in messages:
            message.is_settled = True

    def _messages_of(self, receiver):
        return [message for message in self._open.values() if message.receiver == receiver]

    # The archive

    def archived(self, owner, body, archive_id, last):
        """An entry of an archive, read from its beginning to its end. `last` remembers where each
        conversation is."""
        message = self.message(body, owner)
        if message is None:
            return
        known = message.archived.setdefault(owner, archive_id)
        pair = message.sender, message.receiver
        before = last.get(pair, 0)
        if known != archive_id or before == message.number:
            self.tallies["doubled"] += 1
            self.violate(f"twice in {owner}'s archive: {known} and {archive_id}", message)
        elif message.number < before and not message.has_no_place:
            self.violate(f"after {message.sender} {before} in {owner}'s archive", message)
        if owner == message.receiver:
            self._is_known_as(message, archive_id)
        last[pair] = message.number

    def archive_ids(self, owner):
        """The messages of an archive by their ids, as far as it was read."""
        return {message.archived[owner]: message for message in self._messages.values()
                if owner in message.archived}

    def compare_archives(self, owner, known, ids):
        """The same archive, read again: it may have grown since."""
        for archive_id in known.keys() - set(ids):
            self.violate(f"no longer in {owner}'s archive as {archive_id}", known[archive_id])
        if len(ids) != len(set(ids)):
            self.violate(f"{owner}'s archive has {len(ids)} entries and {len(set(ids))} ids")
        # Read page by page from the beginning, it has the order that it had as it grew.
        order = [archive_id for archive_id in ids if archive_id in known]
        numbers = {}
        for archive_id in order:
            message = known[archive_id]
            pair = message.sender, message.receiver
            if message.number <= numbers.get(pair, 0) and not message.has_no_place:
                self.violate(
                    f"after {message.sender} {numbers[pair]} in {owner}'s archive", message)
            numbers[pair] = message.number

    # The reckoning

    def due(self):
        """What has to be found by now: what was acknowledged, and what was delivered."""
        return [
            message for message in self._open.values()
            if message.acknowledged_by or message.is_found]

    def missing(self, message):
        """Where a message ought to be and is not."""
        places = [] if message.is_found else [f"{message.receiver} has it not"]
        return places + [
            f"it is not in {owner}'s archive" for owner in (message.receiver, message.sender)
            if owner not in message.archived]

    def reckon(self, due):
        """Nothing of `due` is missing; what is where it belongs is done with."""
        for message in due:
            if message.body not in self._open:
                continue
            places = self.missing(message)
            if not places and message.acknowledged_by:
                del self._open[message.body]
            elif places and self._may_be_unheard(message):
                self.tallies["refused unheard"] += 1
                del self._open[message.body]
            elif places:
                self.tallies["lost"] += 1
                self.violate(f"lost: {', '.join(places)}", message)

    @staticmethod
    def _may_be_unheard(message):
        """Covered by the h of a session that a crash ended, while writes failed: the error that
        answered it was lost with the session, and an h has no holes."""
        return message.acknowledged_by == "failed, after faults" and not message.is_found

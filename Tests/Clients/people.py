"""Who has an account."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """An account."""

    name: str
    domain: str
    password: str

    @property
    def jid(self):
        return f"{self.name}@{self.domain}"


# For servers of a test's own; the shared one has nameless people.
ROMEO = Person("romeo", "example.test", "wherefore")
JULIET = Person("juliet", "example.test", "balcony")
USERS = {person.jid: person.password for person in (ROMEO, JULIET)}

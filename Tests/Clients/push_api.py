"""The server's interface for programs and apps, as its OpenAPI document describes it."""

import base64
import contextlib
import http.client
import json
import socket
import ssl
from typing import Any, NamedTuple

from waiting import eventually


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    text: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] in ("application/json", "application/problem+json")
        return json.loads(self.text)

    @property
    def problem(self):
        """The last part of a problem's type; its document is what RFC 9457 has."""
        assert self.headers["Content-Type"] == "application/problem+json"
        document = self.json
        assert document["status"] == self.status and document["title"]
        return document["type"].rpartition(":")[2]


class Interface:
    """`credential` is the header `Authorization`."""

    def __init__(self, kinglet, credential=None):
        self.kinglet = kinglet
        self.credential = credential

    @classmethod
    def of_program(cls, kinglet, *arguments, name="program"):
        """One with a token of its own."""
        return cls(kinglet, f"Bearer {make_token(kinglet, name, *arguments)}")

    @classmethod
    def of_user(cls, kinglet, jid, password):
        text = base64.b64encode(f"{jid}:{password}".encode()).decode()
        return cls(kinglet, f"Basic {text}")

    def ask(self, method, path, document=None, body=None, headers=None):
        if document is not None:
            body = json.dumps(document).encode()
        fields = {} if body is None else {"Content-Type": "application/json"}
        if self.credential:
            fields["Authorization"] = self.credential
        fields.update(headers or {})
        context = ssl.create_default_context(cafile=str(self.kinglet.authority))
        connection = http.client.HTTPSConnection(
            self.kinglet.domain, self.kinglet.ports["web"], context=context, timeout=30)
        # Its name leads nowhere.
        connection._create_connection = lambda address, *rest: _connect(address[1])
        with contextlib.closing(connection):
            connection.request(method, path, body, {
                name: value for name, value in fields.items() if value is not None})
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())

    def get(self, path):
        return self.ask("GET", path)

    # For programs

    def send(self, to, **message):
        return self.ask("POST", "/api/v1/tasks", {"to": to, **message})

    def task(self, number):
        return self.get(f"/api/v1/tasks/{number}").json

    def done(self, number, **counts):
        """The task, once nothing waits; its counts are these."""
        task = eventually(
            lambda: (task := self.task(number))["state"] == "done" and task,
            lambda: f"the end of task {number}: {self.task(number)}")
        for name, count in counts.items():
            assert task["counts"][name] == count, task
        return task

    def targets(self, number):
        """What became of each, page by page."""
        targets, after = [], "0"
        while after is not None:
            page = self.get(f"/api/v1/tasks/{number}/targets?limit=7&after={after}").json
            targets += page["targets"]
            after = page.get("next")
        return targets

    # For apps

    def register(self, device, *tokens, **fields):
        return self.ask("PUT", f"/api/v1/registrations/{device}", {
            "tokens": [
                {"provider": provider, "token": token, **(rest[0] if rest else {})}
                for provider, token, *rest in tokens], **fields})


def make_token(kinglet, name, *arguments):
    return kinglet.command("token", "add", name, *arguments).stdout.strip()


def _connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)

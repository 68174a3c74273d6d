"""How the runs with an archive use their servers."""

import contextlib
from types import SimpleNamespace

import durable
import pytest
import servers
from processes import Skipped


class Tools:
    """Notes which users each chat has, and finds every message twice in the archives."""

    def __init__(self):
        self.firsts = []
        self.calls = []

    def load(self, _server, command, **options):
        self.calls.append((command, options))
        if command == "chat":
            self.firsts.append(options["first"])
        return {"sent": 10, "messages": 20, "disk_bytes_per_msg_settled": 2048}


class Server(servers.Server):
    """Nothing starts."""

    name = family = "ejabberd"

    def __init__(self, archives=True):
        self.archives = archives

    @contextlib.contextmanager
    def running(self):
        yield self


class Tuned(Server):
    name, is_tuned = "ejabberd-tuned", True


PLAN = SimpleNamespace(duration=5)


def visit(server, tools, fresh):
    return dict(durable.of_archive(server, tools, PLAN, fresh))


def test_no_two_runs_share_users_and_all_of_them_exist():
    tools, fresh = Tools(), durable.FreshUsers()
    for _ in range(2):
        for server in (Server(), Tuned()):
            visit(server, tools, fresh)
    assert len(set(tools.firsts)) == len(tools.firsts) == 12
    needed = durable.users_needed([Server, Tuned], rounds=2)
    assert max(tools.firsts) + durable.USERS == needed


def test_every_message_is_to_be_found_by_both():
    figures = visit(Server(), Tools(), durable.FreshUsers())
    assert figures["archive slow plain"]["archived_per_msg"] == 2
    assert figures["archive chat TLS"]["disk_kb_per_msg_settled"] == 2


def test_every_chat_asks_for_acknowledgements_and_ends():
    tools = Tools()
    visit(Server(), tools, durable.FreshUsers())
    chats = [options for command, options in tools.calls if command == "chat"]
    assert all(chat["sm"] is True and chat["drain"] == durable.DRAIN for chat in chats)
    assert [chat.get("window_on") or chat["rate"] for chat in chats] == ["ack", "ack", 20, 500]


def test_a_program_without_an_archive_is_measured_and_said_to_have_none():
    tools, seen = Tools(), []
    with pytest.raises(Skipped):
        for measurement, figures in durable.of_archive(
                Server(archives=False), tools, PLAN, durable.FreshUsers()):
            seen.append(measurement)
            assert "archived_per_msg" not in figures
    assert seen == [
        "archive chat plain", "archive chat TLS", "archive slow plain", "archive rate TLS"]

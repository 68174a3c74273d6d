"""The client for what xmppload does not speak, against a server that follows a script."""

import socket
import threading

import pytest
from client import Client
from processes import BenchError


@pytest.fixture
def scripted():
    """Makes a client of a server that answers each of the client's writes with the next text."""
    heard, threads = [], []

    def serve(listener, answers):
        connection, _ = listener.accept()
        with listener, connection:
            for answer in answers:
                heard.append(connection.recv(65_536).decode())
                connection.sendall(answer.encode())

    def make(*answers):
        listener = socket.create_server(("127.0.0.1", 0))
        threads.append(threading.Thread(target=serve, args=(listener, answers)))
        threads[-1].start()
        return Client(listener.getsockname()[1], timeout=10), heard

    yield make
    for thread in threads:
        thread.join(10)


def test_a_resumable_stream_has_an_id(scripted):
    client, _ = scripted("<enabled xmlns='urn:xmpp:sm:3' resume='true' max='600' id='a&quot;b'/>")
    with client:
        assert client.enable_resumption() == "a&quot;b"


@pytest.mark.parametrize("answer", [
    "<enabled xmlns='urn:xmpp:sm:3'/>",
    "<enabled xmlns='urn:xmpp:sm:3' id='some'/>",
    "<failed xmlns='urn:xmpp:sm:3'><unexpected-request/></failed>"])
def test_what_cannot_be_resumed_has_none(scripted, answer):
    client, _ = scripted(answer)
    with client:
        assert client.enable_resumption() is None


def test_it_settles_once_everything_that_came_is_acknowledged(scripted):
    client, heard = scripted(
        "<presence from='a'/><iq id='1'/><a h='1'/>", "<message/><a h='1'/>", "<a h='1'/>")
    with client:
        assert client.settle() == 3
    assert [text.partition("/>")[0].rpartition(" ")[2] for text in heard] \
        == ["h='0'", "h='2'", "h='3'"]


def test_a_page_is_what_comes_with_its_answer(scripted):
    result = "<message><result id='1'><forwarded><message/></forwarded></result></message>"
    client, heard = scripted(
        f"{result}{result}<iq type='result' id='page1'><fin><set/></fin></iq>")
    with client:
        took, messages = client.last_page("c1@localhost", 50)
    assert took > 0 and messages == 2
    assert "<value>c1@localhost</value>" in heard[0] and "<max>50</max><before/>" in heard[0]


def test_an_error_is_not_a_page(scripted):
    client, _ = scripted("<iq type='error' id='page1'><error><forbidden/></error></iq>")
    with client, pytest.raises(BenchError, match="forbidden"):
        client.last_page("c1@localhost", 50)


def test_a_server_that_closes_is_noticed(scripted):
    client, _ = scripted("<iq ")
    with client, pytest.raises(BenchError, match="closed"):
        client.last_page("c1@localhost", 50)

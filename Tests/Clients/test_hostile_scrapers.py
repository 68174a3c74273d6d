"""Scrapers that are many, slow or endless: each is bounded and counted, other scrapers get their
page, and nobody who chats notices."""

import base64
import contextlib
import http.client
import socket
import threading
import time

import pytest

from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import LONG, eventually

# The loopback network has more addresses than one.
HOSTILE, OTHER = "127.0.0.1", "127.0.0.2"
SECONDS = 4
MEBIBYTE = 1024 * 1024


def refusals(server):
    return {
        sample.labels["reason"]: sample.value for sample in server.samples()
        if sample.name == "kinglet_scrape_refusals_total"}


def connect(server, source=HOSTILE, timeout=LONG):
    return socket.create_connection(
        ("127.0.0.1", server.ports["metrics"]), timeout, source_address=(source, 0))


def scrape(server, source, timeout=LONG):
    """How long a scrape took; None if it was closed."""
    begin = time.monotonic()
    page = http.client.HTTPConnection(
        "127.0.0.1", server.ports["metrics"], timeout=timeout, source_address=(source, 0))
    try:
        page.request("GET", "/metrics", headers={"Connection": "close"})
        answer = page.getresponse()
        text = answer.read()
        assert answer.status == 200 and b"\nkinglet_sessions " in text
        return time.monotonic() - begin
    except (OSError, http.client.HTTPException):
        return None
    finally:
        page.close()


# What the hostile do over and over, until the end; the server may close on them at any time.

def crowd(server, over):
    """500 connections at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(connect(server))
        over.wait(0.5)


def half_requests(server, over):
    """Requests that come byte by byte and never end."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(20)]
        for byte in b"GET /metrics HTTP/1.1\r\nHost: slow":
            for connection in connections:
                connection.send(bytes([byte]))
            if over.wait(0.05):
                return


def large_headers(server, over):
    """1 MB of headers."""
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n")
        for number in range(1024):
            connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1010))


def long_address(server, over):
    with connect(server) as connection:
        connection.sendall(b"GET /" + b"x" * MEBIBYTE + b" HTTP/1.1\r\n\r\n")


def endless_body(server, over):
    with connect(server) as connection:
        connection.sendall(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
        for _ in range(1024):
            connection.sendall(b"x" * 4096)


def many_requests(server, over):
    """100 requests in one piece, whose answers are not read."""
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        over.wait(0.2)


ATTACKS = [crowd, half_requests, large_headers, long_address, endless_body, many_requests]


@contextlib.contextmanager
def under_attack(server, attacks):
    """All of these at once, over and over."""
    over = threading.Event()

    def repeat(attack):
        while not over.is_set():
            with contextlib.suppress(OSError):
                attack(server, over)
            over.wait(0.02)

    threads = [threading.Thread(target=repeat, args=(attack,)) for attack in attacks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_scrapes_and_chat_go_on_under_attack(make_server):
    """Another address gets its page within a second, every time; the same one most of the time;
    messages arrive as ever."""
    server = make_server(users=USERS).start()
    with RawClient.logged_in(server, ROMEO) as romeo, \
            RawClient.logged_in(server, JULIET, "balcony") as juliet:
        others, same, messages = [], [], []
        with under_attack(server, ATTACKS):
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                others.append(scrape(server, OTHER))
                same.append(scrape(server, HOSTILE))
                begin = time.monotonic()
                romeo.send(
                    f"<message to='{JULIET.jid}/balcony' type='headline'>"
                    f"<body>{len(messages)}</body></message>")
                juliet.read_through(f"<body>{len(messages)}</body>")
                messages.append(time.monotonic() - begin)
    assert len(others) >= 10, others
    assert all(took is not None and took < 1 for took in others), others
    assert sum(took is not None for took in same) >= 0.8 * len(same), same
    assert max(messages) < 1, messages
    counted = eventually(
        lambda: (now := refusals(server))["connections"] >= 400 and now["too_large"] >= 3 and now,
        lambda: f"refusals are counted: {refusals(server)}")
    assert counted["address"] == counted["authentication"] == 0
    # What was open is gone, and nothing is left behind.
    eventually(
        lambda: scrape(server, HOSTILE) is not None and open_sockets(server) < 100,
        lambda: f"{open_sockets(server)} descriptors are open")


def open_sockets(server):
    return server.metric("kinglet_process_open_descriptors")


def test_half_a_request_is_closed_and_counted(make_server):
    """Neither silence nor a byte now and then keeps a connection open."""
    server = make_server().start()
    with connect(server) as silent, connect(server) as slow:
        silent.send(b"GET /metrics HTTP/1.1\r\nHo")
        begin = time.monotonic()
        slow.settimeout(0.2)

        def is_closed():
            try:
                slow.send(b"G")
                return slow.recv(1) == b""
            except socket.timeout:
                return False
            except OSError:
                return True

        eventually(is_closed, "the end of a request that trickles")
        assert time.monotonic() - begin < 10
        assert silent.recv(1) == b""
    eventually(
        lambda: refusals(server)["incomplete"] == 2, lambda: f"two: {refusals(server)}")


def test_refusals_by_address_and_credentials(make_server):
    """Who may not, and who cannot say that they may."""
    server = make_server(settings={
        "metrics.token": "a-token", "metrics.allow": f"[{HOSTILE}]"}).start()

    def status(source, authorization=None):
        page = http.client.HTTPConnection(
            "127.0.0.1", server.ports["metrics"], timeout=LONG, source_address=(source, 0))
        with contextlib.closing(page):
            headers = {"Authorization": authorization} if authorization else {}
            page.request("GET", "/metrics", headers=headers)
            answer = page.getresponse()
            return answer.status, answer.read().decode()

    assert status(OTHER, "Bearer a-token")[0] == 403
    assert status(HOSTILE)[0] == 401
    assert status(HOSTILE, "Basic " + base64.b64encode(b"a-token:a-token").decode())[0] == 401
    code, page = status(HOSTILE, "bearer a-token")
    assert code == 200
    for reason, count in {"address": 1, "authentication": 2, "connections": 0}.items():
        assert f'kinglet_scrape_refusals_total{{reason="{reason}"}} {count}\n' in page


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "0.0.0.0/1"])
def test_an_allow_list_of_everybody_is_no_lock(make_server, network):
    """Beyond loopback it is refused like none at all; with a token it may be as wide as it likes."""
    server = make_server(settings={"metrics.allow": f"[{network}]"})
    isolated = ["--set", "listen.addresses=127.0.0.1", "--set", "listen.client_port=0",
                "--set", "listen.client_tls_port=0", "--set", "listen.server_port=0", "--set", "listen.web_port=0",
                "--set", "metrics.port=0"]
    done = server.command("serve", *isolated, "--set", "metrics.address=0.0.0.0", check=False)
    assert done.returncode == 1 and "metrics.allow" in done.stderr, done.stderr


def test_a_network_that_is_none_is_found_before_the_start(make_server):
    """One that is left out by mistake would lock out its scrapers, or let in others."""
    server = make_server()
    done = server.command(
        "config", "--check", "--set", "metrics.allow=[10.0.0.0/8, 10.0.0.0/33]", check=False)
    assert done.returncode == 1 and "metrics.allow" in done.stderr, done.stderr

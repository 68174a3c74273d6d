"""What the server tells the service manager (sd_notify(3)), and when."""

import os
import signal
import socket
import time

import pytest

from service_manager import ServiceManager


@pytest.fixture
def manager(tmp_path):
    with ServiceManager(tmp_path / "notify") as manager:
        yield manager


def test_ready_when_everything_listens(make_server, manager):
    """READY=1 comes when the listeners are up, and nothing comes before it."""
    kinglet = make_server()
    kinglet.start(environment=manager.environment())
    assert manager.hear()["READY"] == "1"
    assert "example.test" in manager.heard[0]["STATUS"]
    socket.create_connection(("127.0.0.1", kinglet.ports["client"])).close()


def test_a_name_in_the_abstract_namespace(make_server):
    """$NOTIFY_SOCKET may begin with @ (sd_notify(3))."""
    with ServiceManager(f"@kinglet-test-{os.getpid()}") as manager:
        make_server().start(environment=manager.environment())
        assert manager.hear()["READY"] == "1"


def test_a_reload_is_told(make_server, manager):
    """RELOADING=1 with the monotonic time, then READY=1, also when the new file is refused."""
    kinglet = make_server().start(environment=manager.environment())
    manager.wait_for("READY")
    for _ in range(2):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        kinglet.signal(signal.SIGHUP)
        reloading = manager.hear()
        assert reloading["RELOADING"] == "1"
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(reloading["MONOTONIC_USEC"]) <= after
        assert manager.hear()["READY"] == "1"
        kinglet.configuration.write_text("no configuration")


def test_the_end_is_told(make_server, manager):
    """STOPPING=1 on SIGTERM, and nothing after it but signs of life."""
    kinglet = make_server().start(environment=manager.environment())
    manager.wait_for("READY")
    kinglet.signal(signal.SIGTERM)
    assert manager.hear()["STOPPING"] == "1"
    assert kinglet.wait() == 0


def test_signs_of_life(make_server, manager):
    """WATCHDOG=1 comes at least twice per interval, from the start on."""
    make_server().start(environment=manager.environment(watchdog=4))
    manager.wait_for("READY")
    times = []
    for _ in range(4):
        manager.wait_for("WATCHDOG")
        times.append(time.monotonic())
    # Four per interval are asked for; on a busy machine they may be late.
    assert times[-1] - times[0] < 3 * 4 / 2


@pytest.mark.parametrize(
    "watchdog", [dict(), dict(watchdog=0.1, process=1), dict(watchdog=0)],
    ids=["not asked for", "for another process", "zero"])
def test_no_signs_of_life(make_server, manager, watchdog):
    """Without $WATCHDOG_USEC, or with another's $WATCHDOG_PID, there are none."""
    kinglet = make_server().start(environment=manager.environment(**watchdog))
    manager.wait_for("READY")
    kinglet.stop()
    manager.wait_for("STOPPING")
    assert not any("WATCHDOG" in said for said in manager.heard)


@pytest.mark.parametrize("address", ["relative", "/", "@", "/" + "x" * 200, "/nobody/listens"])
def test_a_socket_of_no_use(make_server, address):
    """The server runs on, and says so."""
    kinglet = make_server().start(environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "x"})
    kinglet.log.line_with("the service manager cannot be told")

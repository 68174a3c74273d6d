"""Debian's Prometheus scrapes the server and sees clients come and go."""

import pytest

from monitors import Prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, server):
    program = Prometheus(tmp_path_factory.mktemp("prometheus"), server)
    yield program
    program.stop()


async def test_the_gauges_follow_logins_and_logouts(connect, server, person, prometheus):
    """kinglet_connections and kinglet_sessions, as Prometheus has them."""
    prometheus.becomes(1, 'up{job="kinglet"}')
    prometheus.becomes(0, "kinglet_sessions")
    prometheus.becomes(0, "sum(kinglet_connections)")

    clients = [await connect(person()) for _ in range(3)]
    prometheus.becomes(3, "kinglet_sessions")
    prometheus.becomes(3, 'kinglet_connections{type="c2s",tls="TLSv1.3"}')

    clients.append(await connect(person(), direct_tls=True))
    prometheus.becomes(4, "kinglet_sessions")
    prometheus.becomes(1, 'kinglet_connections{type="c2s_direct_tls",tls="TLSv1.3"}')

    for client in clients:
        await client.leave()
    prometheus.becomes(0, "kinglet_sessions")
    prometheus.becomes(0, "sum(kinglet_connections)")

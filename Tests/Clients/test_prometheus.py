"""Debian's Prometheus scrapes the server (alerts/ included) and sees clients come and go."""

import json
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest

from kinglet import REPOSITORY
from waiting import LONG, eventually

RULES = REPOSITORY / "alerts/kinglet.rules.yml"


class Prometheus:
    """A Prometheus with a port and storage of its own that scrapes one server every second, or what
    `jobs` say."""

    def __init__(self, directory, server, jobs=None):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        configuration = directory / "prometheus.yml"
        configuration.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": jobs or [{
                "job_name": "kinglet",
                "static_configs": [{"targets": [f"127.0.0.1:{server.ports['metrics']}"]}],
            }],
        }))
        self._output = open(directory / "prometheus.log", "w+")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={configuration}",
             f"--storage.tsdb.path={directory / 'storage'}",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self._output, stderr=subprocess.STDOUT)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(LONG)
        finally:
            self.process.kill()
            self._output.close()

    def ask(self, path, **parameters):
        """The data of an answer of the HTTP API; None while it does not answer yet."""
        assert self.process.poll() is None, self._log()
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=LONG) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, query):
        data = self.ask("query", query=query)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def becomes(self, expected, query):
        eventually(
            lambda: self.value(query) == expected,
            lambda: f"Prometheus sees {query} = {expected}; it sees {self.value(query)}",
            timeout=30, pause=0.1)

    def _log(self):
        self._output.seek(0)
        return self._output.read()


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


def test_the_alert_rules_load(prometheus):
    """Every group and every rule of alerts/kinglet.rules.yml, without an error, and none fires
    for a server that is well."""
    groups = eventually(
        lambda: (prometheus.ask("rules") or {}).get("groups"), "Prometheus has rules")
    names = {rule["name"] for group in groups for rule in group["rules"]}
    written = {
        line.split(":", 1)[1].strip() for line in RULES.read_text().splitlines()
        if line.strip().startswith("- alert:")}
    assert written and names == written

    def evaluated():
        rules = [
            rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    for rule in eventually(evaluated, "all rules were evaluated"):
        assert (rule["name"], rule["health"]) == (rule["name"], "ok"), rule
        assert rule["state"] != "firing", rule


def test_the_alert_rules_pass_their_tests():
    """promtool check rules, promtool test rules."""
    for arguments in (
        ["check", "rules", RULES], ["test", "rules", RULES.parent / "kinglet.rules.test.yml"],
    ):
        done = subprocess.run(
            ["promtool", *map(str, arguments)], cwd=RULES.parent, capture_output=True, text=True,
            timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_configuration_is_valid():
    """alerts/prometheus.yml, as an owner takes it over."""
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=RULES.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr

"""Debian's Prometheus finds the server by itself, and reads both formats."""

import contextlib
import http.server
import json
import stat
import threading
import urllib.request

import pytest

from kinglet import one_line
from monitors import Prometheus
from waiting import LONG, eventually

TOKEN = "the-scraper-s-token"


@pytest.fixture
def prometheus(tmp_path):
    """Starts a Prometheus with these jobs; it is stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(server, *jobs):
            directory = tmp_path / "prometheus"
            directory.mkdir()
            program = Prometheus(directory, server, jobs=list(jobs))
            stack.callback(program.stop)
            return program

        yield start


def discovered(program, job, target):
    """Waits until a job has this target and no other, and gives its labels before relabelling."""

    def found():
        targets = (program.ask("targets") or {"activeTargets": []})["activeTargets"]
        targets = [entry for entry in targets if entry["scrapePool"] == job]
        return targets if targets and targets[0]["health"] == "up" else None

    targets = eventually(found, f"Prometheus scrapes the targets of {job}", timeout=30)
    assert [entry["labels"]["instance"] for entry in targets] == [target]
    return targets[0]["discoveredLabels"]


def expected_labels(server):
    version = next(
        sample.labels["version"] for sample in server.samples()
        if sample.name == "kinglet_build_info")
    return {
        "__meta_kinglet_version": version, "__meta_kinglet_domain": server.domain,
        "__metrics_path__": "/metrics", "__scheme__": "http"}


def test_prometheus_discovers_the_server(make_server, prometheus, tmp_path):
    """http_sd_configs asks /sd, file_sd_configs reads what the command wrote; the labels can be
    relabelled."""
    server = make_server(domains=("münchen.test", "example.test")).start()
    target = f"127.0.0.1:{server.ports['metrics']}"
    file = tmp_path / "kinglet.json"
    assert server.command("metrics", "--file-sd", file).stdout == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["kinglet.json"]
    relabel = [{"source_labels": ["__meta_kinglet_domain"], "target_label": "domain"}]
    program = prometheus(
        server,
        {"job_name": "http", "relabel_configs": relabel, "http_sd_configs": [
            {"url": f"http://{target}/sd", "refresh_interval": "1s"}]},
        {"job_name": "file", "relabel_configs": relabel, "file_sd_configs": [
            {"files": [str(file)], "refresh_interval": "1s"}]})
    for job in ("http", "file"):
        labels = discovered(program, job, target)
        assert expected_labels(server).items() <= labels.items()
        program.becomes(1, f'up{{job="{job}",domain="münchen.test"}}')


def test_discovery_needs_the_scraper_s_token(make_server, prometheus):
    """/sd is behind the rules of /metrics; the target is what Prometheus called the server."""
    server = make_server(settings={"metrics.token": TOKEN, "metrics.advertise": "localhost"})
    server.start()
    target = f"localhost:{server.ports['metrics']}"
    # Debian 12's Prometheus forgets the word Bearer in http_sd_configs unless it is told.
    authorization = {"authorization": {"type": "Bearer", "credentials": TOKEN}}
    assert server.get("/sd")[0] == 401
    program = prometheus(server, {
        "job_name": "http", **authorization, "http_sd_configs": [
            {"url": f"http://{target}/sd", "refresh_interval": "1s", **authorization}]})
    discovered(program, "http", target)


def test_the_page_and_the_command_give_the_same_list(make_server, tmp_path):
    server = make_server().start()
    status, headers, page = server.get("/sd")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    [group] = json.loads(page)
    assert group == {
        "targets": [f"127.0.0.1:{server.ports['metrics']}"], "labels": expected_labels(server)}
    assert server.command("metrics", "--file-sd", "-").stdout == page
    file = tmp_path / "kinglet.json"
    file.write_text("old")
    server.command("metrics", "--file-sd", file)
    assert file.read_text() == page


def test_a_list_without_a_server_comes_from_the_configuration(make_server, tmp_path):
    """Where the address is known; else one line says what to set."""
    server = make_server()

    def listed(*settings, file="-"):
        sets = [part for setting in settings for part in ("--set", setting)]
        return server.command("metrics", "--file-sd", file, *sets, check=False)

    assert json.loads(listed("metrics.port=9000").stdout)[0]["targets"] == ["127.0.0.1:9000"]
    assert json.loads(
        listed("metrics.address=::", "metrics.advertise=pi.local").stdout
    )[0]["targets"] == ["pi.local:9622"]
    assert "metrics.advertise" in one_line(listed("metrics.address=::"))
    assert "metrics.port" in one_line(listed("metrics.port=0"))
    assert "metrics.advertise" in one_line(listed("metrics.advertise=http://pi.local/"))
    assert ".json" in one_line(listed(file=tmp_path / "kinglet.txt"))
    directory = tmp_path / "directory.json"
    directory.mkdir()
    assert "s a directory" in one_line(listed(file=directory))
    assert "such file" in one_line(listed(file=tmp_path / "nowhere" / "kinglet.json"))


# Formats

class TextOnly(http.server.BaseHTTPRequestHandler):
    """Passes scrapes on and asks for the text format, as scrapers do that know no other."""

    def do_GET(self):
        request = urllib.request.Request(
            self.server.target + self.path,
            headers={"Accept": "text/plain;version=0.0.4;q=1,*/*;q=0.1"})
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            page = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
        self.server.types.add(answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def text_proxy():
    """Starts a proxy to a server that has everything in the text format."""
    with contextlib.ExitStack() as stack:

        def start(server):
            proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TextOnly)
            proxy.target = f"http://127.0.0.1:{server.ports['metrics']}"
            proxy.types = set()
            thread = threading.Thread(target=proxy.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(proxy.server_close)
            stack.callback(proxy.shutdown)
            return proxy

        yield start


def stored(program, job):
    """The series that Prometheus has of a job, without the labels that it added."""
    return {
        tuple(sorted((name, value) for name, value in series.items()
                     if name not in ("job", "instance")))
        for series in program.ask("series", **{"match[]": f'{{job="{job}",__name__!="up"}}'})}


def test_prometheus_takes_both_formats(make_server, prometheus, text_proxy):
    """Without a fallback: the content type says which it is, and the series are the same."""
    server = make_server().start()
    proxy = text_proxy(server)
    program = prometheus(
        server,
        {"job_name": "openmetrics", "static_configs": [
            {"targets": [f"127.0.0.1:{server.ports['metrics']}"]}]},
        {"job_name": "text", "static_configs": [
            {"targets": [f"127.0.0.1:{proxy.server_port}"]}]})
    for job in ("openmetrics", "text"):
        program.becomes(1, f'up{{job="{job}"}}')
        assert program.value(f'scrape_samples_scraped{{job="{job}"}}') > 100
    # Which format each of them got, by the server's own count.
    assert proxy.types == {"text/plain; version=0.0.4; charset=utf-8"}
    assert program.value('kinglet_scrapes_total{job="openmetrics",format="openmetrics"}') > 0
    # A reading of the machine may come between two scrapes.
    eventually(
        lambda: stored(program, "openmetrics") == stored(program, "text"), "the series are the same",
        pause=0.2)

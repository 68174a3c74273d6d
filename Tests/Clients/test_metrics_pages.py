"""The pages of the metrics endpoint: exposition formats, health, access."""

import base64
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from kinglet import BINARY

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What owners and the alert rules rely on.
FAMILIES = {
    "kinglet_archive_bytes", "kinglet_archive_messages", "kinglet_archive_query_seconds",
    "kinglet_carbons", "kinglet_certificate_expiry_timestamp_seconds",
    "kinglet_commit_batch_size", "kinglet_commit_duration_seconds", "kinglet_connections",
    "kinglet_csi_flushed", "kinglet_csi_held", "kinglet_event_loop_lag_seconds",
    "kinglet_hibernations", "kinglet_logins", "kinglet_message_delivery_seconds",
    "kinglet_offline_messages", "kinglet_process_cpu_seconds",
    "kinglet_process_open_descriptors", "kinglet_process_resident_memory_bytes",
    "kinglet_refusals", "kinglet_resumptions", "kinglet_sessions", "kinglet_sessions_hibernating",
    "kinglet_stanzas", "kinglet_unacknowledged_stanzas",
}


@pytest.fixture
async def busy(connect, person):
    """Somebody has done something, so that the pages are not all zeros."""
    romeo, juliet = await connect(person()), await connect(person())
    romeo.send_message(mto=juliet.boundjid, mbody="something")
    await juliet.next_message()


async def test_text_format(busy, server):
    """Exposition format 0.0.4: `promtool check metrics` has nothing to say."""
    status, headers, text = server.get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert FAMILIES <= {family.name for family in text_format(text)}


async def test_openmetrics(busy, server):
    """OpenMetrics 1.0, by negotiation; the reference parser takes it."""
    status, headers, text = server.get("/metrics", accept=OPENMETRICS)
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    families = {family.name: family for family in openmetrics(text)}
    assert FAMILIES <= families.keys()
    assert all(family.documentation for family in families.values())


async def test_both_formats_and_the_command_say_the_same(busy, server):
    """The same series, whoever asks."""
    series = [
        {(sample.name, tuple(sorted(sample.labels.items())))
         for family in parse(text) for sample in family.samples
         if not sample.name.endswith("_created")}
        for parse, text in (
            (text_format, server.get("/metrics")[2]),
            (openmetrics, server.get("/metrics", accept=OPENMETRICS)[2]),
            (text_format, server.command("metrics").stdout))
    ]
    assert series[0] == series[1] == series[2]


async def test_no_address_is_in_the_metrics(busy, server, person):
    """Labels come from closed sets: no name, no address, no password."""
    text = server.get("/metrics")[2]
    assert "person" not in text and "@" not in text and "127.0.0.1" not in text


def test_health(server):
    """/healthz: the loops turn; /readyz: logins work."""
    for path in ("/healthz", "/readyz"):
        assert server.get(path)[0] == 200
    assert server.get("/")[0] in (200, 404)
    assert server.get("/nowhere")[0] == 404


def test_build_info_has_the_program_s_version(server):
    printed = subprocess.run(
        [BINARY, "--version"], capture_output=True, text=True, timeout=60).stdout.strip()
    assert server.metric("kinglet_build_info", version=printed) == 1


async def test_bytes_that_were_written(busy, server):
    """As many as the kernel has counted, where it counts them (proc(5))."""

    def counted():
        text = Path(f"/proc/{server.process.pid}/io").read_text()
        return int(re.search(r"(?m)^write_bytes: (\d+)$", text)[1])

    try:
        before = counted()
    except OSError:
        pytest.skip("this kernel does not tell")
    assert before <= server.metric("kinglet_process_disk_written_bytes_total") <= counted()


def test_a_token_is_required_if_one_is_set(make_server):
    """RFC 6750 section 3, RFC 7617: 401 without it, the page with it; its text is in no log."""
    kinglet = make_server(settings={"metrics.token": "a-token-of-length"}).start()
    assert kinglet.get("/metrics")[0] == 401
    assert ask(kinglet, "Bearer not-the-token") == 401
    assert ask(kinglet, "Bearer a-token-of-length") == 200
    assert "a-token-of-length" not in kinglet.log.text


def test_a_password_is_required_if_one_is_set(make_server):
    """RFC 7617."""
    kinglet = make_server(
        settings={"metrics.user": "prometheus", "metrics.password": "titan"}).start()
    basic = base64.b64encode(b"prometheus:titan").decode()
    assert kinglet.get("/metrics")[0] == 401
    assert ask(kinglet, f"Basic {basic}") == 200
    assert ask(kinglet, f"Basic {base64.b64encode(b'prometheus:olympian').decode()}") == 401


def ask(server, authorization):
    """The status of the metrics page for these credentials."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.ports['metrics']}/metrics",
        headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code

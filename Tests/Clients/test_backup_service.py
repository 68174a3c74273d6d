"""The backup within the running server: schedules, reload, hooks, pings, reports, status, metrics."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from backups import other_medium
from kinglet import BINARY, FAST_KEYS, FIXTURES, NO_LOGIN_DELAY, Kinglet, one_line
from people import JULIET, ROMEO
from raw_client import RawClient
from terminal import Terminal
from waiting import LONG, eventually

# A recorded machine whose clock is right and that nobody disturbs. Nothing is isolated here, for an
# isolated server makes no backups.
SETTINGS = {
    "listen.addresses": "127.0.0.1", "listen.client_port": 0, "listen.client_tls_port": 0,
    "listen.server_port": 0, "listen.web_port": 0,
    "metrics.port": 0, "hardware.root": str(FIXTURES / "hardware/pi4-healthy"),
    "hardware.ups": '""', "backup.start_delay": "0s",
}
OFTEN = "*-*-* *:*:*"
DAY = 86_400
# Every name that there is beside those of what only a run that is at work has.
NAMES = {
    "last_success_timestamp_seconds", "last_attempt_timestamp_seconds", "last_result",
    "duration_seconds", "run_duration_seconds_bucket", "run_duration_seconds_sum",
    "run_duration_seconds_count", "runs_total", "retries_total", "source_files", "source_bytes",
    "changed_files", "deleted_files", "last_transferred_bytes", "last_literal_bytes",
    "last_matched_bytes", "transferred_bytes_total", "snapshots",
    "snapshot_oldest_timestamp_seconds", "target_free_bytes", "target_size_bytes",
    "target_available", "protected", "next_run_timestamp_seconds", "period_seconds",
    "missed_runs_total", "verify_last_success_timestamp_seconds", "verify_failures_total",
    "verified_ratio", "restore_test_last_success_timestamp_seconds",
    "restore_test_duration_seconds", "restore_test_failures_total",
    "restore_test_period_seconds", "prune_possible",
    "database_copy_duration_seconds", "database_wal_bytes", "rsync_exit_code", "running",
    "key_available",
    "prune_last_success_timestamp_seconds", "suspicious_total", "clock_synchronised"}


class Installation:
    """A server with a target on another file system, and a configuration that changes."""

    def __init__(self, kinglet, target):
        self.kinglet = kinglet
        self.target = target
        self.text = kinglet.configuration.read_text()

    def write(self, *jobs, targets=None, text=None):
        """What the file says of backups; JSON is YAML."""
        if targets is None:
            targets = [{"name": "disk", "location": str(self.target)}]
        backup = text or json.dumps({"targets": targets, "jobs": jobs})
        self.kinglet.configuration.write_text(f"{self.text}\nbackup: {backup}\n")

    def reload(self, *jobs, expect="certificates: read again", **options):
        """Changes the configuration of the running server; gives what it says to that."""
        before = len(self.kinglet.log.text)
        self.write(*jobs, **options)
        self.kinglet.signal(signal.SIGHUP)
        eventually(
            lambda: expect in self.kinglet.log.text[before:],
            lambda: f"{expect!r} in {self.kinglet.log.text[before:]!r}")
        return self.kinglet.log.text[before:]

    def restart(self):
        self.kinglet.stop()
        self.kinglet.start(isolated=False)

    def run(self, *arguments, check=True):
        return self.kinglet.command("backup", "run", *arguments, check=check)

    def job(self, name):
        return next(
            (job for job in self.kinglet.json("status")["backup"]["jobs"] if job["name"] == name),
            {})

    def metric(self, name, **labels):
        """None while there is none."""
        return next(
            (sample.value for sample in self.kinglet.samples()
             if sample.name == f"kinglet_backup_{name}"
             and labels.items() <= sample.labels.items()), None)

    def runs(self, name, result="success"):
        return self.metric("runs_total", backup=name, result=result) or 0

    def change_state(self, name, change):
        """What the backup remembers, as if it had been so for long."""
        path = self.kinglet.data / "backup-state" / name
        document = json.loads(path.read_text())
        change(document)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.chmod(0o600)
        new.rename(path)


    def forget_local(self):
        """The snapshots in the data directory, which other tests do not expect."""
        for name in ("backups", "backup-state/targets/local"):
            shutil.rmtree(self.kinglet.data / name)


@pytest.fixture(scope="module")
def place():
    """A folder on another file system than the tests' own."""
    with other_medium() as folder:
        yield folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, place):
    """The server that all tests share."""
    kinglet = Kinglet(
        tmp_path_factory.mktemp("service"), settings={**FAST_KEYS, **NO_LOGIN_DELAY, **SETTINGS})
    kinglet.initialize()
    kinglet.add_user(JULIET.jid, JULIET.password)
    kinglet.command(
        "user", "add", ROMEO.jid, "--admin", "--password-stdin", stdin=ROMEO.password + "\n")
    (kinglet.data / "uploads").mkdir()
    (kinglet.data / "uploads" / "picture").write_bytes(os.urandom(1_500_000))
    target = place / "shared"
    target.mkdir()
    installation = Installation(kinglet, target)
    kinglet.start(isolated=False)
    yield installation
    kinglet.stop()


@pytest.fixture
def installation(made):
    """With nothing configured."""
    if made.kinglet.process is None:
        made.kinglet.start(isolated=False)
    made.reload()
    return made


# Schedules


def test_a_job_runs_by_its_schedule(installation):
    """By itself, again and again; the first run of a schedule proves that it restores."""
    installation.reload({"name": "often", "schedule": OFTEN})
    eventually(lambda: installation.runs("often") >= 2, "two runs", timeout=60)
    job = installation.job("often")
    now = time.time()
    assert job["lastResult"] == "success" and job["protected"] is True
    assert now - 60 < job["lastSuccess"] <= now and abs(job["nextRun"] - now) < 60
    assert installation.metric("restore_test_last_success_timestamp_seconds", backup="often")
    assert installation.metric("period_seconds", backup="often") == 1


def test_a_reload_changes_jobs_and_targets(installation, place):
    """What is in force afterwards is what the file says; a new job counts from now."""
    other = place / "other"
    other.mkdir()
    installation.reload(
        {"name": "yearly", "schedule": "yearly"}, {"name": "often", "schedule": OFTEN},
        targets=[{"name": "other", "location": str(other)}])
    eventually(lambda: list(other.glob("*/manifest")), "a snapshot on the new target")
    eventually(lambda: installation.job("yearly").get("nextRun"), "the yearly job is planned")
    listing = installation.kinglet.json("backup", "list")
    assert [target["name"] for target in listing["targets"]] == ["other"]
    assert [job["name"] for job in listing["jobs"]] == ["yearly", "often"]
    assert installation.runs("yearly") == 0
    installation.reload({"name": "yearly", "schedule": "yearly"})
    assert not installation.job("often").get("nextRun"), "it is planned no more"


@pytest.mark.parametrize("text, part", [
    ("{jobs: [{name: often, schedule: sometimes}]}", "neither a day of the week nor a name"),
    ("{jobs: [{name: often, targets: nowhere}]}", 'there is no target named "nowhere"'),
    ("{targets: [{name: disk, location: here}]}", "location: expected"),
    ("{jobs: [{name: Often}]}", "expected 1 to 32"),
])
def test_a_wrong_configuration_changes_nothing(installation, text, part):
    """The log says why, and the job of before is still planned."""
    installation.reload({"name": "kept", "schedule": "yearly"})
    planned = eventually(
        lambda: installation.metric("next_run_timestamp_seconds", backup="kept"), "it is planned")
    said = installation.reload(text=text, expect="reload: nothing changed")
    assert part.replace('"', '\\"') in said, said
    assert installation.metric("next_run_timestamp_seconds", backup="kept") == planned
    assert installation.metric("next_run_timestamp_seconds", backup="often") is None


def test_at_start_means_the_start_and_no_reload(installation):
    """@reboot runs once for each start of the server; others go on meanwhile."""
    jobs = [{"name": "start", "schedule": "@reboot", "test_restore": "never"},
            {"name": "clock", "schedule": OFTEN, "test_restore": "never"}]
    installation.reload(*jobs)
    before = installation.runs("start")
    installation.restart()
    eventually(lambda: installation.runs("start") == before + 1, "the run at the start")
    installation.reload(*jobs)
    passed = installation.runs("clock")
    eventually(lambda: installation.runs("clock") > passed + 1, "time passes after the reload")
    assert installation.runs("start") == before + 1


def test_one_run_makes_up_for_all_that_were_missed(installation):
    """Ten days without the server are one run, and ten that were missed."""
    job = {"name": "daily", "schedule": "daily", "test_restore": "never"}
    installation.reload(job)
    installation.run("daily")
    before, missed = installation.runs("daily"), installation.metric(
        "missed_runs_total", backup="daily")
    installation.kinglet.stop()
    installation.change_state("schedule.json", lambda jobs: jobs["daily"].update(
        settled=jobs["daily"]["settled"] - 10 * DAY))
    installation.kinglet.start(isolated=False)
    eventually(lambda: installation.runs("daily") == before + 1, "the run that makes up for it")
    eventually(
        lambda: installation.metric("missed_runs_total", backup="daily") == missed + 10,
        lambda: installation.metric("missed_runs_total", backup="daily"))
    installation.restart()
    eventually(lambda: installation.job("daily").get("nextRun", 0) > time.time(), "it is planned")
    assert installation.runs("daily") == before + 1


# Around a run


def test_hooks_know_what_the_run_is(installation, tmp_path):
    """The one before it knows the job, the one after it how it ended; neither has secrets."""
    words = "env | sort > {}"
    installation.reload({
        "name": "hooked", "before": words.format(tmp_path / "before"),
        "after": words.format(tmp_path / "after"), "ping": "http://127.0.0.1:1/secret-path"})
    installation.run("hooked")
    before, after = (
        dict(line.split("=", 1) for line in (tmp_path / name).read_text().splitlines())
        for name in ("before", "after"))
    assert before["KINGLET_BACKUP_JOB"] == after["KINGLET_BACKUP_JOB"] == "hooked"
    assert "KINGLET_BACKUP_RESULT" not in before
    assert after["KINGLET_BACKUP_RESULT"] == "success"
    assert (installation.target / after["KINGLET_BACKUP_SNAPSHOT"] / "manifest").exists()
    for environment in (before, after):
        assert not re.search("secret-path|AGE-SECRET", str(environment))


def test_a_hook_before_the_run_can_stop_it(installation):
    """Nothing is stored, and the command says what the hook said."""
    snapshots = set(os.listdir(installation.target))
    installation.reload({"name": "stopped", "before": "echo not mounted >&2; exit 3"})
    done = installation.run("stopped", check=False)
    assert done.returncode == 1
    assert "status 3: not mounted" in done.stderr and "mend the command" in done.stderr
    assert {name for name in os.listdir(installation.target) if name[0] != "."} == {
        name for name in snapshots if name[0] != "."}
    assert installation.job("stopped")["lastResult"] == "failed"


class PingReceiver(http.server.ThreadingHTTPServer):
    """Takes pings down."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self.server.pings.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.pings = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def receiver():
    server = PingReceiver()
    yield server
    server.shutdown()
    server.server_close()


def arguments_of_all_processes():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return b"\n".join(found)


def test_pings_tell_of_each_run(installation, receiver, tmp_path):
    """Start and end of a run have one id; the address is a secret, and the body has none."""
    url = f"http://127.0.0.1:{receiver.server_port}/check-4711"
    installation.reload({"name": "pinged", "ping": url})
    begun = len(installation.kinglet.log.text)
    said = installation.run("pinged")
    installation.reload({"name": "pinged", "ping": url, "before": "exit 1"})
    failed = installation.run("pinged", check=False)
    assert failed.returncode == 1
    paths = [path.partition("?")[0] for path, _ in receiver.pings]
    assert paths == ["/check-4711/start", "/check-4711", "/check-4711/start", "/check-4711/fail"]
    ids = [path.partition("rid=")[2] for path, _ in receiver.pings]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    bodies = "".join(body for _, body in receiver.pings)
    assert "success" in bodies and "before" in bodies
    assert "AGE-SECRET" not in bodies and "check-4711" not in bodies
    # Where nobody listens, a warning is all there is, without the address.
    receiver.shutdown()
    receiver.server_close()
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    installation.reload({"name": "pinged", "ping": url, "before": f"cat {fifo}"})
    with subprocess.Popen(
        [BINARY, "backup", "run", "pinged", *map(str, installation.kinglet._common)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:
        with open(fifo, "w", encoding="ascii"):
            seen = arguments_of_all_processes()
        output = "".join(process.communicate(timeout=LONG))
        assert process.returncode == 0, output
    log = installation.kinglet.log.text[begun:]
    assert b"check-4711" not in seen
    status = installation.kinglet.command("status").stdout
    listing = installation.kinglet.command("backup", "list").stdout
    assert "did not arrive" in log
    for text in (log, output, said.stdout, failed.stderr, status, listing,
                 installation.kinglet.command("metrics").stdout):
        assert "check-4711" not in text


def test_administrators_hear_what_fails_and_that_it_works_again(installation):
    """With the reason and what to do; nobody else hears anything, and a run that is well says
    nothing."""
    installation.reload({"name": "told", "before": "echo no power >&2; exit 1"})
    with RawClient.logged_in(installation.kinglet, ROMEO) as romeo, \
            RawClient.logged_in(installation.kinglet, JULIET) as juliet:
        for client in (romeo, juliet):
            client.send("<presence/>")
            client.read_through("<presence[^>]*>")

        def hears():
            # What other tests have made fail has waited for him.
            while "Backup told" not in (message := romeo.read_through("</message>")):
                pass
            assert "from='example.test'" in message or 'from="example.test"' in message
            return re.search("<body>(.*)</body>", message, re.S)[1]

        installation.run("told", check=False)
        said = hears()
        assert "Backup told failed" in said and "no power" in said
        assert "What to do: mend the command" in said
        installation.run("told", check=False)
        assert "failure number 2 in a row" in hears()
        installation.reload({"name": "told"})
        installation.run("told")
        assert "Backup told works again, after 2 that failed" in hears()
        installation.run("told")
        # The next thing that comes is the digest: nothing was said of the run.
        installation.reload({"name": "told", "report": "weekly"})
        eventually(
            lambda: "lastDigest" in (
                installation.kinglet.data / "backup-state/state.json").read_text(),
            "the week has begun")
        installation.change_state("state.json", lambda state: state["jobs"]["told"].update(
            lastDigest=state["jobs"]["told"]["lastDigest"] - 8 * DAY))
        installation.reload({"name": "told", "report": "weekly"})
        said = hears()
        assert "Backup told, the last seven days: 2 good runs" in said
        juliet.expect_answer()
        assert b"<message" not in juliet._received


def test_nothing_is_removed_after_a_failure(installation):
    """What there is may be all there will be; the next good run thins it out."""
    installation.reload({"name": "thinned", "keep_last": 9})
    for _ in range(4):
        installation.run("thinned")
    job = {
        "name": "thinned", "keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}

    def would_remove():
        pruned, = (
            one for one in installation.kinglet.json("backup", "prune", "--dry-run")
            if one["job"] == "thinned")
        return len(pruned["removed"])

    installation.reload(job)
    assert would_remove() == 2, "the newest two always stay"
    installation.reload({**job, "before": "exit 1"})
    installation.run("thinned", check=False)
    assert would_remove() == 0
    installation.reload(job)
    installation.run("thinned")
    assert installation.metric("snapshots", backup="thinned") == 2


# What can be seen


def test_status_shows_age_plan_and_protection(installation):
    """In words and as JSON."""
    installation.reload({"name": "seen", "schedule": "yearly"})
    assert "seen: no snapshot yet" in installation.kinglet.command("status").stdout
    installation.run("seen")
    eventually(lambda: installation.job("seen").get("nextRun"), "it is planned")
    job = installation.job("seen")
    assert job["configured"] and job["protected"] and job["lastResult"] == "success"
    assert time.time() - 60 < job["lastSuccess"] <= time.time() < job["nextRun"]
    line = next(
        line for line in installation.kinglet.command("status").stdout.splitlines()
        if " seen:" in line)
    assert re.search(r"newest snapshot \d+ s old, last run success, next in \d+", line), line
    assert "do not protect" not in installation.kinglet.command("status").stdout


def test_a_mistake_in_an_argument_is_no_failed_run(installation, place):
    """It is said before anything is done, for a failed run stops pruning. A target alone means the
    job that goes there."""
    (place / "spare").mkdir()
    targets = [{"name": name, "location": str(folder)} for name, folder in (
        ("disk", installation.target), ("spare", place / "spare"))]
    well = {"name": "well", "targets": ["disk"]}
    installation.reload(well, targets=targets)
    installation.run("well")
    for arguments, part in (
        (["--target", "nowhere"], "known are disk, spare, local"),
        (["--target", "spare"], "no job goes there"),
        (["well", "--target", "spare"], "the job well does not go there"),
        (["nothing"], "known are well"),
    ):
        done = installation.run(*arguments, check=False)
        assert done.returncode == 1 and part in one_line(done), done
    assert installation.job("well")["lastResult"] == "success"
    assert installation.runs("well", "failed") == 0
    installation.reload(well, {"name": "second", "targets": ["spare"]}, targets=targets)
    installation.run("--target", "spare")
    assert (installation.runs("well"), installation.runs("second")) == (1, 1)


def test_the_folder_in_the_data_directory_is_seen_beside_other_targets(installation):
    """As long as a job goes there, or has left snapshots there."""
    kinglet = installation.kinglet

    def seen():
        return [target["name"] for target in kinglet.json("backup", "list")["targets"]]

    installation.reload({"name": "both", "targets": ["disk", "local"]})
    assert seen() == ["disk", "local"]
    installation.run("both")
    installation.reload({"name": "one", "targets": ["disk"]})
    assert seen() == ["disk", "local"]
    snapshot, = kinglet.json("backup", "list")["targets"][1]["snapshots"]
    outcomes = kinglet.json("backup", "verify")
    assert [outcome["target"] for outcome in outcomes] == ["disk", "local"]
    assert "local" in kinglet.command("backup", "pin", snapshot["id"]).stdout
    installation.forget_local()
    assert seen() == ["disk"]


def test_warnings_of_a_run_reach_whoever_asked_for_it(installation):
    installation.reload({"name": "warned", "extra": ["/nonexistent/path"]})
    done = installation.run("warned")
    assert "warning: disk: /nonexistent/path is not there and is left out" in done.stdout
    assert installation.job("warned")["lastResult"] == "warning"


def test_one_run_at_a_time_and_how_far_it_is(installation, tmp_path):
    """A second one is refused; `list` and `status` say what is at work."""
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    installation.reload({"name": "slow", "before": f"cat {fifo}"}, {"name": "other"})
    kinglet = installation.kinglet
    with subprocess.Popen(
        [BINARY, "backup", "run", "slow", "--json", *map(str, kinglet._common)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:
        # Opened when the hook opens it.
        with open(fifo, "w", encoding="ascii"):
            refused = installation.run("other", check=False)
            assert "slow runs already" in one_line(refused)
            assert "is at backup run" in one_line(
                kinglet.command("backup", "verify", check=False))
            assert "running now" in kinglet.command("status").stdout
            assert installation.metric("running", backup="slow") == 1
            assert installation.metric("running", backup="other") == 0
            listing = kinglet.json("backup", "list")
            assert "is at backup run" in listing["busy"]
            assert (listing["running"], listing["progress"]["phase"]) == ("slow", "waiting")
            assert "slow runs: waiting" in kinglet.command("backup", "list").stdout
        output, errors = process.communicate(timeout=LONG)
        assert process.returncode == 0, errors
        assert json.loads(output)["result"] == "success"
    eventually(lambda: installation.metric("running", backup="slow") == 0, "it runs no more")


def test_a_terminal_shows_how_far_it_is(installation):
    """Step, percent, rate and the time left; and SIGINT ends the run in the server."""
    installation.reload({"name": "shown", "bandwidth": "300KiB"}, targets=[
        {"name": "fresh", "location": str(installation.target / "fresh")}])
    (installation.target / "fresh").mkdir(exist_ok=True)
    command = [BINARY, "backup", "run", "shown", *installation.kinglet._common]
    with Terminal(*command) as terminal:
        terminal.wait_for("transfer")
        terminal.wait_for(" %")
        terminal.wait_for("/s")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("cancelled")
        assert terminal.process.wait(LONG) == 1
    assert installation.job("shown")["lastResult"] == "cancelled"


# Metrics


def test_metrics_are_all_there_and_survive(installation):
    """promtool is content; after a restart they are what they were."""
    installation.reload({"name": "often", "schedule": "yearly"})
    installation.run("often")
    installation.kinglet.command("backup", "verify")
    installation.kinglet.command("backup", "verify", "--restore")
    eventually(lambda: installation.metric("next_run_timestamp_seconds"), "it is planned")

    def of_job():
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for sample in installation.kinglet.samples()
            if sample.name.startswith("kinglet_backup_") and sample.labels["backup"] == "often"}

    before = of_job()
    assert {name for name, *_ in before} == {f"kinglet_backup_{name}" for name in NAMES}
    page = installation.kinglet.get("/metrics")[2]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=60,
        check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    installation.restart()
    eventually(lambda: installation.metric("next_run_timestamp_seconds"), "it is planned")
    assert of_job() == before


def test_what_is_not_configured_any_more_is_not_shown(installation):
    """Neither the job of before any was configured, nor one that was removed."""
    installation.run()
    assert installation.job("default")["lastResult"] == "success"
    assert installation.metric("protected", backup="default") is not None
    installation.reload({"name": "other"})
    for page in ("status", "metrics"):
        assert "default" not in installation.kinglet.command(page).stdout
    assert installation.metric("suspicious_total", backup="other") == 0, "it counts from 0"
    installation.reload({"name": "another"})
    assert installation.metric("suspicious_total", backup="other") is None


def test_without_a_job_there_are_none(make_server):
    kinglet = make_server(settings=SETTINGS).start(isolated=False)
    assert "kinglet_backup_" not in kinglet.command("metrics").stdout
    assert "none configured" in kinglet.command("status").stdout

"""Debian's Prometheus and Alertmanager with ports and storage of their own, and a receiver of
alerts."""

import http.server
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from waiting import LONG, eventually


class Program:
    """A program that serves HTTP until it is stopped."""

    def __init__(self, directory, name, arguments):
        self._output = open(directory / f"{name}.log", "w+")
        self.process = subprocess.Popen(
            [str(part) for part in arguments], stdout=self._output, stderr=subprocess.STDOUT)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(LONG)
        finally:
            self.process.kill()
            self._output.close()

    def get(self, path, **parameters):
        """The document that it answers; None while it does not answer yet. A question that it
        refuses is a failure."""
        assert self.process.poll() is None, self._log()
        url = f"http://127.0.0.1:{self.port}{path}?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=LONG) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            assert error.code >= 500, f"{path} {parameters}: {error.read().decode()}"
            return None
        except OSError:
            return None

    def _log(self):
        self._output.seek(0)
        return self._output.read()


class Prometheus(Program):
    """Scrapes servers every second, or what `jobs` say, and evaluates rules as often."""

    def __init__(self, directory, *servers, rules=(), alertmanager=None, jobs=None):
        self.port = free_port()
        configuration = directory / "prometheus.yml"
        configuration.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(file) for file in rules],
            "alerting": {"alertmanagers": [{"static_configs": [
                {"targets": [f"127.0.0.1:{alertmanager.port}"]}]}] if alertmanager else []},
            "scrape_configs": jobs or [{
                "job_name": "kinglet",
                "static_configs": [{"targets": [target(server) for server in servers]}],
            }],
        }))
        super().__init__(directory, "prometheus", [
            "prometheus", f"--config.file={configuration}",
            f"--storage.tsdb.path={directory / 'storage'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            # What was sent before it had found an Alertmanager is lost until then.
            "--rules.alert.resend-delay=5s"])

    def ask(self, path, **parameters):
        """The data of an answer of the HTTP API; None while it does not answer yet."""
        answer = self.get(f"/api/v1/{path}", **parameters)
        return answer and answer["data"]

    def value(self, query):
        data = self.ask("query", query=query)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def becomes(self, expected, query):
        eventually(
            lambda: self.value(query) == expected,
            lambda: f"Prometheus sees {query} = {expected}; it sees {self.value(query)}",
            timeout=30, pause=0.1)


class Alertmanager(Program):
    """Alone: it looks for no others."""

    def __init__(self, directory, configuration):
        self.port = free_port()
        super().__init__(directory, "alertmanager", [
            "prometheus-alertmanager", f"--config.file={configuration}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="])

    def take(self, *alerts):
        """Has it know alerts with these labels, as Prometheus would."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v2/alerts",
            data=json.dumps([{"labels": labels} for labels in alerts]).encode(),
            headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            assert answer.status == 200

    def kept_back(self):
        """Which alerts are inhibited, by name and instance."""
        return {
            (alert["labels"]["alertname"], alert["labels"]["instance"])
            for alert in self.get("/api/v2/alerts") if alert["status"]["inhibitedBy"]}


class AlertReceiver:
    """Takes what an Alertmanager posts."""

    def __init__(self):
        self._notifications = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                with receiver._changed:
                    receiver._notifications.append((self.path, document))
                    receiver._changed.notify_all()

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def alerts(self, path, name):
        """Of each notification so far that has an alert of this name: it, and the alert."""
        with self._changed:
            return [
                (document, alert) for to, document in self._notifications if to == path
                for alert in document["alerts"] if alert["labels"]["alertname"] == name]

    def alert(self, path, name, status, timeout=30):
        """The first such notification whose alert has this status, waiting for it if need be."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for document, alert in self.alerts(path, name):
                    if alert["status"] == status:
                        return document, alert
                left = end - time.monotonic()
                assert left > 0, f"no {status} {name} on {path}: {self._notifications}"
                self._changed.wait(left)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def target(server):
    """The address that Prometheus scrapes, and the value of its label `instance`."""
    return f"127.0.0.1:{server.ports['metrics']}"

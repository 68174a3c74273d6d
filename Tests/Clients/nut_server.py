"""Servers of Network UPS Tools: one of the test's own, and the real one with a dummy UPS."""

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

# Debian's /usr/sbin/upsd is a script that first looks into /etc/nut.
PROGRAMS = Path("/lib/nut")


class ScriptedServer:
    """Answers from a table of UPSes, which a test may change while it runs.

    A UPS is a dictionary of variables, or the word of an error. What is named `stall` stops in
    the middle of a line for as long as the server lives.
    """

    def __init__(self, units):
        self.units = units
        self.stalls = False
        self.stalled = threading.Event()
        self.questions = []
        self._end = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._end.set()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                for line in connection.makefile("r"):
                    question = line.rstrip("\n")
                    self.questions.append(question)
                    answer = self._answer(question)
                    if self.stalls:
                        connection.sendall(answer[:len(answer) // 2].encode())
                        self.stalled.set()
                        self._end.wait()
                        return
                    connection.sendall(answer.encode())
            except OSError:
                pass

    def _answer(self, question):
        if question == "LIST UPS":
            lines = [f'UPS {name} "A \\"UPS\\""' for name in self.units]
            return "\n".join(["BEGIN LIST UPS", *lines, "END LIST UPS", ""])
        if question.startswith("LIST VAR "):
            name = question.split(" ")[2]
            values = self.units.get(name, "UNKNOWN-UPS")
            if isinstance(values, str):
                return f"ERR {values}\n"
            lines = [f'VAR {name} {key} "{value}"' for key, value in values.items()]
            return "\n".join([f"BEGIN LIST VAR {name}", *lines, f"END LIST VAR {name}", ""])
        return "OK Goodbye\n" if question == "LOGOUT" else "ERR UNKNOWN-COMMAND\n"


class DummyUPS:
    """The real upsd, with a driver that reads its UPS from a file."""

    @staticmethod
    def is_installed():
        return (PROGRAMS / "upsd").exists() and (PROGRAMS / "dummy-ups").exists()

    def __init__(self, directory, variables):
        # Paths of Unix sockets are short.
        self.directory = Path(directory)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._environment = {
            **os.environ, "NUT_CONFPATH": str(self.directory), "NUT_STATEPATH": str(self.directory),
            "NUT_ALTPIDPATH": str(self.directory)}
        self._write("ups.conf", '[rack]\n driver = dummy-ups\n port = rack.dev\n'
                    ' mode = dummy-loop\n desc = "A \\"dummy\\" UPS"\n')
        self._write("upsd.conf", f"LISTEN 127.0.0.1 {port}\nMAXAGE 5\n")
        self._write("upsd.users", "")
        self._write("rack.dev", "".join(f"{key}: {value}\n" for key, value in variables.items())
                    + "TIMER 1\n")
        self.directory.chmod(0o770)
        self._processes = []
        self.start_driver()
        self._start("upsd")

    def _write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o640)

    def _start(self, program, *arguments):
        user = ["-u", "root"] if os.getuid() == 0 else []
        process = subprocess.Popen(
            [PROGRAMS / program, *arguments, *user, "-F", "-D"], env=self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def start_driver(self):
        self._driver = self._start("dummy-ups", "-a", "rack")

    def stop_driver(self):
        self._driver.terminate()
        self._driver.wait()

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

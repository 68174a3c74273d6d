"""The servers under test: a directory with configuration and data, started and stopped at will.

All have one virtual host, SCRAM-SHA-256 keys of 4,096 rounds, the same certificate, loopback only,
open registration where the users come that way, and neither limits nor federation. Each can be had
without an archive, or with every message archived in SQLite.
"""

import contextlib
import os
import shutil
import sqlite3
import textwrap
import time
from pathlib import Path

from processes import BenchError, Daemon, free_port, run

DOMAIN = "localhost"
# The rounds cost the client's CPU alone, and that many that it is not the limit.
ITERATIONS = 4096


class Server:
    """Subclasses say how the server is configured, started and given its users."""

    name = ""
    title = ""
    domain = DOMAIN
    # What shares data: a server and its tuned variant.
    family = ""
    packages = ""
    # What it needs besides for an archive.
    archive_packages = ""
    is_tuned = False
    CONFIGURATION = ""
    # What follows it with the archive on.
    ARCHIVE = ""

    def __init__(self, directory, certificate, key, archives=False):
        self.directory = directory
        self.archives = archives
        self.start_seconds = 0
        self.certificate = certificate
        self.key = key
        self.port = 0
        self.pid = 0
        directory.mkdir(mode=0o700, exist_ok=True)

    @classmethod
    def is_installed(cls):
        return True

    @classmethod
    def can_archive(cls):
        return True

    def seed(self, users, tools):
        """Gives the server users u0 ... u(users - 1)."""
        with self.running():
            tools.load(self, "register", users=users, timeout=1800)

    @contextlib.contextmanager
    def running(self):
        """The server runs, answers, and is stopped again."""
        self.port = free_port()
        started = time.monotonic()
        daemon = self.start()
        try:
            daemon.await_stream(self.port, self.domain)
            self.start_seconds = time.monotonic() - started
            self.pid = daemon.pid
            yield self
        finally:
            daemon.stop()

    def start(self):
        raise NotImplementedError

    def configured(self, **values):
        """The text of the configuration."""
        text = self.CONFIGURATION + (self.ARCHIVE if self.archives else "")
        return text.format(**values)

    @property
    def log(self):
        return self.directory / "output.log"

    def write(self, name, text):
        path = self.directory / name
        path.write_text(textwrap.dedent(text).lstrip())
        return path


class Kinglet(Server):
    name = family = "kinglet"
    title = "Kinglet"
    binary = None
    # Whether the program has an archive: then it is on unless it is switched off.
    HAS_ARCHIVE = True

    def __init__(self, directory, certificate, key, archives=False):
        super().__init__(directory, certificate, key, archives and self.HAS_ARCHIVE)
        self.configuration = directory / "kinglet.yaml"
        # What a measurement has set besides.
        self.settings = {}
        if not self.configuration.exists():
            run([self.binary, "init", "--config", self.configuration, "--data", self.data,
                 "--domain", self.domain, "--yes"])

    @property
    def data(self):
        return self.directory / "data"

    @property
    def database(self):
        return self.data / "kinglet.db"

    def _settings(self):
        settings = {
            "tls.certificate": self.certificate, "tls.key": self.key,
            "listen.addresses": "[127.0.0.1]", "listen.client_port": self.port,
            "listen.client_tls_port": 0, "listen.server_port": 0, "listen.web_port": 0,
            "listen.plaintext": "loopback", "metrics.port": 0,
            "storage.scram_iterations": ITERATIONS, "log.level": "warning",
        }
        if self.HAS_ARCHIVE and not self.archives:
            settings["archive.default"] = "never"
        settings |= self.settings
        return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]

    def seed(self, users, tools, prefix="u"):
        lines = "".join(f"{prefix}{number} {tools.password}\n" for number in range(users))
        run([self.binary, "user", "import", "-", "--config", self.configuration,
             *self._settings()], stdin=lines, timeout=3600)

    def start(self):
        return Daemon(
            [self.binary, "serve", "--config", self.configuration, *self._settings()], self.log,
            directory=self.directory)


class Ejabberd(Server):
    """Started through erl, without distribution: no epmd, no cookie, no other node."""

    name = family = title = packages = "ejabberd"
    archive_packages = "erlang-p1-sqlite3"
    flags = ()

    CONFIGURATION = """
        loglevel: warning
        hosts: ["{domain}"]
        certfiles: ["{pair}"]
        auth_password_format: scram
        auth_scram_hash: sha256
        registration_timeout: infinity
        s2s_access: none
        listen:
          - port: {port}
            ip: "127.0.0.1"
            module: ejabberd_c2s
            starttls: true
            shaper: none
            access: all
        modules:
          mod_blocking: {{}}
          mod_caps: {{}}
          mod_carboncopy: {{}}
          mod_client_state: {{}}
          mod_disco: {{}}
          mod_offline: {{}}
          mod_ping: {{}}
          mod_privacy: {{}}
          mod_pubsub:
            plugins: [pep]
          mod_register:
            ip_access: all
            access: all
          mod_roster:
            versioning: true
          mod_stream_mgmt: {{}}
          mod_vcard: {{}}
        """
    # The first lines are one more module.
    ARCHIVE = """
          mod_mam:
            assume_mam_usage: true
            default: always
        default_db: sql
        sql_type: sqlite
        sql_database: "{database}"
        """
    SCHEMA = Path("/usr/share/ejabberd/sql/lite.sql")

    @classmethod
    def is_installed(cls):
        return shutil.which("erl") and shutil.which("ejabberdctl")

    @classmethod
    def can_archive(cls):
        found = "halt(case code:which(sqlite3) of non_existing -> 1; _ -> 0 end)."
        return cls.SCHEMA.exists() and not _fails(
            ["erl", "-noinput", "-boot", "no_dot_erlang", "-eval", found])

    def start(self):
        pair = self.directory / "pair.pem"
        pair.write_text(self.certificate.read_text() + self.key.read_text())
        pair.chmod(0o600)
        database = self.directory / "archive.sqlite"
        if self.archives and not database.exists():
            self._make_archive(database)
        configuration = self.write("ejabberd.yml", self.configured(
            domain=DOMAIN, pair=pair, port=self.port, database=database))
        resolver = self.write("inetrc", '{lookup,["file","native"]}.\n')
        environment = dict(
            os.environ, HOME=str(self.directory), ERL_LIBS=self._libraries(),
            ERL_INETRC=str(resolver), ERL_MAX_PORTS="32000", ERL_MAX_ETS_TABLES="1400",
            ERL_CRASH_DUMP_BYTES="0", EJABBERD_CONFIG_PATH=str(configuration),
            EJABBERD_LOG_PATH=str(self.directory / "ejabberd.log"))
        return Daemon(
            ["erl", "-noinput", "+K", "true", "+P", "250000", *self.flags, "-mnesia", "dir",
             f'"{self.directory / "spool"}"', "-s", "ejabberd"],
            self.log, environment, self.directory)

    def _make_archive(self, database):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.executescript(self.SCHEMA.read_text())

    @staticmethod
    def _libraries():
        """Where the package has its modules, as its own control script says."""
        script = shutil.which("ejabberdctl")
        with open(script, encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("ERL_LIBS="):
                    return line.partition("=")[2].strip().strip("'\"")
        raise BenchError(f"{script}: no ERL_LIBS")


class EjabberdTuned(Ejabberd):
    """Without the schedulers' busy waiting."""

    name, title, is_tuned = "ejabberd-tuned", "no busy-wait", True
    flags = ("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")


class Prosody(Server):
    name = family = packages = "prosody"
    archive_packages = "lua-dbi-sqlite3"
    title = "Prosody"
    backend = "epoll"

    CONFIGURATION = """
        run_as_root = true
        admins = {{}}
        plugin_paths = {{}}
        data_path = "{directory}/spool"
        pidfile = "{directory}/prosody.pid"
        network_backend = "{backend}"
        modules_enabled = {{
            "blocklist", "carbons", "csi_simple", "disco", "pep", "ping", "register", "roster",
            "saslauth", "smacks", "tls", "vcard4", "vcard_legacy",
        }}
        modules_disabled = {{ "s2s" }}
        interfaces = {{ "127.0.0.1" }}
        c2s_ports = {{ {port} }}
        c2s_require_encryption = false
        allow_unencrypted_plain_auth = true
        allow_registration = true
        authentication = "internal_hashed"
        password_hash = "SHA-256"
        default_iteration_count = {iterations}
        storage = "internal"
        log = {{ warn = "{directory}/prosody.log" }}
        ssl = {{ certificate = "{certificate}", key = "{key}" }}
        VirtualHost "{domain}"
        """
    # Settings of the host; what has no storage named stays in files.
    ARCHIVE = """
            modules_enabled = {{ "mam" }}
            default_archive_policy = true
            storage = {{ archive = "sql" }}
            sql = {{ driver = "SQLite3", database = "{directory}/archive.sqlite" }}
        """

    @classmethod
    def is_installed(cls):
        return shutil.which("prosody")

    @classmethod
    def can_archive(cls):
        return not _fails(["lua5.4", "-e", "require 'DBI'; require 'dbd.sqlite3'"])

    def start(self):
        (self.directory / "spool").mkdir(mode=0o700, exist_ok=True)
        configuration = self.write("prosody.cfg.lua", self.configured(
            directory=self.directory, backend=self.backend, port=self.port,
            iterations=ITERATIONS, certificate=self.certificate, key=self.key, domain=DOMAIN))
        return Daemon(
            ["prosody", "--config", configuration, "-F"], self.log, directory=self.directory)


class ProsodyTuned(Prosody):
    """On libevent."""

    name, title, is_tuned = "prosody-tuned", "libevent", True
    packages = "prosody lua-event"
    backend = "event"

    @classmethod
    def is_installed(cls):
        return shutil.which("prosody") and shutil.which("lua5.4") and not _fails(
            ["lua5.4", "-e", "require 'luaevent'"])


def _fails(arguments):
    try:
        run(arguments, timeout=10)
    except BenchError:
        return True
    return False


ALL = (Kinglet, Ejabberd, EjabberdTuned, Prosody, ProsodyTuned)

"""Debian's Prosody and ejabberd on a host of a network of namespaces, with all that they keep in a
folder of the test. They encrypt, trust one authority, and want a certificate of every server.

What all servers of such a network have for a test, Kinglet (`federated_kinglet.py`) included:
`domain`, `people`, `host`, `address`, `ports`, `authority`, `start`, `wait_until_ready`, `kill`,
`stop`, `log` and `keeps_messages`.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import textwrap
from pathlib import Path

from kinglet import Log

PORTS = {"client": 5222, "server": 5269, "component": 5347}
COMPONENT_SECRET = "secret of a component"


class OtherServer:
    """Subclasses say how the server is configured and started. `people` have accounts from the
    first start on."""

    PROGRAM = ""
    # Its log has all of these once it is ready.
    READY = ()
    # Whether a message that it has taken for another domain outlives an outage.
    keeps_messages = False

    def __init__(self, directory, host, domain, people, authority, pair=None, component=None):
        self.directory = Path(directory) / f"{self.PROGRAM}-{host.name}"
        self.directory.mkdir()
        self.host = host
        self.domain = domain
        self.people = tuple(people)
        self.authority = authority.file
        self.pair = pair or authority.issue(domain)
        self.component = component
        self.address = host.address
        self.ports = PORTS
        self.process = None
        self.log = None

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.PROGRAM) is not None

    def start(self):
        """Starts the server; the accounts and all that it knows are those of before."""
        arguments, environment = self.prepare()
        self.process = subprocess.Popen(
            [str(part) for part in (*self.host.program, *arguments)], cwd=self.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(self.directory), **environment})
        self.log = Log(self.process.stdout)
        return self

    def wait_until_ready(self):
        for line in self.READY:
            self.log.line_with(line)
        return self

    def kill(self):
        """`kill -9`."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """The end of the test; how well they stop is not ours to judge."""
        if self.process is not None:
            self.kill()

    def prepare(self):
        """Writes the configuration; gives arguments and environment."""
        raise NotImplementedError

    def write(self, name, text, **values):
        path = self.directory / name
        path.write_text(textwrap.dedent(text).lstrip().format(**values))
        return path


class Prosody(OtherServer):
    PROGRAM = "prosody"
    READY = ("Activated service 'c2s'", "Activated service 's2s'", "Certificates loaded")

    CONFIGURATION = """
        run_as_root = true
        data_path = "{directory}/data"
        pidfile = "{directory}/prosody.pid"
        plugin_paths = {{}}
        modules_enabled = {{
            "blocklist", "carbons", "dialback", "disco", "offline", "pep", "ping", "roster",
            "s2s_bidi", "saslauth", "smacks", "tls", "vcard4", "version",
        }}
        authentication = "internal_plain"
        c2s_require_encryption = true
        s2s_require_encryption = true
        s2s_secure_auth = true
        s2s_direct_tls_ports = {{ 5270 }}
        ssl = {{
            certificate = "{pair.certificate}", key = "{pair.key}", cafile = "{authority}",
        }}
        log = {{ debug = "*console" }}
        VirtualHost "{domain}"
        """
    COMPONENT = """
        Component "{component}"
            component_secret = "{secret}"
        """

    def prepare(self):
        for person in self.people:
            accounts = self.directory / "data" / _encoded(person.domain) / "accounts"
            accounts.mkdir(parents=True, exist_ok=True)
            file = accounts / f"{_encoded(person.name)}.dat"
            if not file.exists():
                file.write_text(f'return {{ ["password"] = "{person.password}"; }};\n')
        configuration = self.write(
            "prosody.cfg.lua",
            textwrap.dedent(self.CONFIGURATION)
            + (textwrap.dedent(self.COMPONENT) if self.component else ""),
            directory=self.directory, pair=self.pair, authority=self.authority,
            domain=self.domain, component=self.component, secret=COMPONENT_SECRET)
        return ["prosody", "--config", configuration, "-F"], {}


class Ejabberd(OtherServer):
    """Started through erl, without distribution: no epmd, no cookie, no other node.

    It keeps things in SQLite, for what Mnesia has of the last seconds is lost in a kill.
    """

    PROGRAM = "ejabberdctl"
    SCHEMA = Path("/usr/share/ejabberd/sql/lite.sql")
    READY = ("all people have accounts",)

    CONFIGURATION = """
        loglevel: debug
        hosts: ["{domain}"]
        certfiles: ["{pem}"]
        ca_file: "{authority}"
        s2s_use_starttls: required
        s2s_cafile: "{authority}"
        auth_password_format: plain
        default_db: sql
        sql_type: sqlite
        sql_database: "{database}"
        listen:
          - port: 5222
            module: ejabberd_c2s
            starttls_required: true
            starttls: true
          - port: 5269
            module: ejabberd_s2s_in
          - port: 5270
            module: ejabberd_s2s_in
            tls: true
          - port: 5347
            module: ejabberd_service
            hosts:
              "{component}":
                password: "{secret}"
        modules:
          mod_blocking: {{}}
          mod_caps: {{}}
          mod_carboncopy: {{}}
          mod_disco: {{}}
          mod_mam: {{}}
          mod_offline: {{}}
          mod_ping: {{}}
          mod_privacy: {{}}
          mod_roster: {{}}
          mod_stream_mgmt: {{}}
          mod_vcard: {{}}
          mod_version: {{}}
        """

    def prepare(self):
        pem = self.directory / "pair.pem"
        pem.write_text(self.pair.certificate.read_text() + self.pair.key.read_text())
        pem.chmod(0o600)
        database = self.directory / "ejabberd.sqlite"
        if not database.exists():
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.executescript(self.SCHEMA.read_text())
        configuration = self.write(
            "ejabberd.yml", self.CONFIGURATION, domain=self.domain, pem=pem, database=database,
            authority=self.authority, component=self.component or f"component.{self.domain}",
            secret=COMPONENT_SECRET)
        resolver = self.write("inetrc", '{{lookup,["file","native"]}}.\n')
        register = "".join(
            f'ejabberd_auth:try_register(<<"{person.name}">>,<<"{person.domain}">>,'
            f'<<"{person.password}">>),' for person in self.people)
        return [
            "erl", "-noinput", "+S", "2", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
            "-mnesia", "dir", f'"{self.directory / "data"}"', "-s", "ejabberd",
            "-eval", f'{register} io:format("{self.READY[0]}~n").',
        ], {
            "ERL_LIBS": self._libraries(), "ERL_INETRC": str(resolver),
            "ERL_CRASH_DUMP_BYTES": "0", "EJABBERD_CONFIG_PATH": str(configuration),
            "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
        }

    @staticmethod
    def _libraries():
        """Where the package has its modules, as its own control script says."""
        for line in Path(shutil.which("ejabberdctl")).read_text().splitlines():
            if line.startswith("ERL_LIBS="):
                return line.partition("=")[2].strip().strip("'\"")
        raise AssertionError("ejabberdctl has no ERL_LIBS")


def _encoded(text):
    """How Prosody names files."""
    return "".join(
        letter if letter.isascii() and letter.isalnum()
        else "".join(f"%{byte:02x}" for byte in letter.encode()) for letter in text)

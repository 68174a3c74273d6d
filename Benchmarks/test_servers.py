"""What the servers are told about their archives."""

import servers


def kinglet(tmp_path, archives, has_archive, monkeypatch):
    monkeypatch.setattr(servers.Kinglet, "HAS_ARCHIVE", has_archive)
    (tmp_path / "kinglet.yaml").touch()
    return servers.Kinglet(tmp_path, "certificate", "key", archives)


def test_kinglet_keeps_its_archive_unless_it_is_to_do_without(tmp_path, monkeypatch):
    off = "archive.default=never"
    assert off in kinglet(tmp_path, False, True, monkeypatch)._settings()
    assert off not in kinglet(tmp_path, True, True, monkeypatch)._settings()


def test_a_kinglet_without_an_archive_is_not_told_about_one(tmp_path, monkeypatch):
    for archives in (True, False):
        server = kinglet(tmp_path, archives, False, monkeypatch)
        assert not server.archives
        assert not any("archive" in setting for setting in server._settings())


def test_ejabberd_archives_as_one_more_module(tmp_path):
    def lines(archives):
        server = servers.Ejabberd(tmp_path, None, None, archives)
        written = server.write("ejabberd.yml", server.configured(
            domain="localhost", pair="pair", port=1, database="archive.sqlite"))
        return written.read_text().splitlines()

    with_archive = lines(True)
    modules, archive = with_archive.index("modules:"), with_archive.index("  mod_mam:")
    assert all(line.startswith("  ") for line in with_archive[modules + 1:archive] if line)
    assert 'sql_database: "archive.sqlite"' in with_archive
    assert not any("mam" in line or "sql" in line for line in lines(False))


def test_prosody_archives_in_sqlite_and_keeps_the_rest_in_files(tmp_path):
    values = {name: "" for name in ("directory", "backend", "port", "iterations", "certificate",
                                    "key")}
    server = servers.Prosody(tmp_path, None, None, True)
    text = server.configured(domain="localhost", **values)
    _, _, of_host = text.partition('VirtualHost "localhost"')
    assert '"mam"' in of_host and 'storage = { archive = "sql" }' in of_host
    server.archives = False
    assert "mam" not in server.configured(domain="localhost", **values)

"""A mirror of Debian's archive as small as can be, and a cache that downloads from it."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "packaging/arm64"))
import archive  # noqa: E402
from mirror import Mirror  # noqa: E402


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory):
    """A directory of gpg's with a key, and the key's public half as apt reads it."""
    return Mirror.make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture
def mirror(signing_key, tmp_path, monkeypatch):
    """An empty mirror that this machine uses, on a free port."""
    home, keyring = signing_key
    monkeypatch.setattr(archive, "KEYRING", keyring)
    with Mirror(tmp_path / "mirror", home) as made:
        monkeypatch.setenv("MIRROR", made.address)
        yield made

"""Writes the dashboards from their declarations in source/; `make dashboards` runs it."""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER / "source"))

from backup import BACKUP
from engine import ENGINE
from overview import OVERVIEW
from push_relay import PUSH
from raspberry_pi import RASPBERRY_PI
from server_to_server import FEDERATION
from storage import STORAGE

DASHBOARDS = {
    "overview.json": OVERVIEW,
    "raspberry-pi.json": RASPBERRY_PI,
    "engine.json": ENGINE,
    "federation.json": FEDERATION,
    "push.json": PUSH,
    "storage.json": STORAGE,
    "backup.json": BACKUP,
}


def text(dashboard):
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / name).write_text(text(dashboard))

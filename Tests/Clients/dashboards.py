"""The dashboards as tests read them: the files, their panels, the metrics in a query."""

import json
import re
from dataclasses import dataclass

from kinglet import REPOSITORY

FOLDER = REPOSITORY / "dashboards"
DOCUMENTS = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SOURCE = {"type": "prometheus", "uid": "${ds_prometheus}"}
# A metric of ours with its matchers, wherever it stands in a query.
SELECTOR = re.compile(r"(?<![:\w])((?:kinglet|rpi)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")


@dataclass(frozen=True)
class Panel:
    """A panel that is no row."""

    file: str
    document: dict

    def __str__(self):
        return f"{self.file}: {self.document['title']}"

    @property
    def key(self):
        return self.file, self.document["title"]

    @property
    def defaults(self):
        return self.document["fieldConfig"]["defaults"]

    @property
    def queries(self):
        return [target["expr"] for target in self.document["targets"]]

    @property
    def metrics(self):
        return set().union(*map(metrics, self.queries))

    @property
    def steps(self):
        return self.defaults["thresholds"]["steps"]

    @property
    def alerts(self):
        """The alerts that the description names."""
        named = re.search(r"Alerts: ([\w, ]+)\.", self.document["description"])
        return named[1].split(", ") if named else []


PANELS = [
    Panel(file, document) for file, dashboard in DOCUMENTS.items()
    for document in dashboard["panels"] if document["type"] != "row"
]


def metrics(query):
    """The families that a query asks for."""
    return {family(name) for name, _ in SELECTOR.findall(query)}


def family(name):
    """The family that a series of this name is of."""
    return re.sub(r"(?<=_seconds|..._size)_(bucket|sum|count)$", "", name)

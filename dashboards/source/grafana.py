"""Grafana's model of a dashboard, from short declarations of panels.

A declaration says what a panel shows and what it means; this file adds what all panels share: the
data source, the selection of a job and an instance, colours, and the place on the grid, which
follows from the order and the sizes.
"""

import re
from dataclasses import dataclass

from limits import NO_LIMITS, Limits

SOURCE = {"type": "prometheus", "uid": "${ds_prometheus}"}
# By =~, as dashboards of the field have it: several instances, or all, can be put in. A target that
# is an IPv6 address in brackets is no regular expression of itself, and wants a name.
SELECTION = 'job="$job", instance=~"$instance"'
# A metric in a query, with the matchers that follow it, if any do.
METRIC = re.compile(r"\b((?:kinglet|rpi)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
GRID = 24
# What a link from a panel says of the place that it leaves.
HERE = "${__url_time_range}&${__all_variables}"


@dataclass(frozen=True)
class Panel:
    """One panel: what it asks, and what the answer means to the owner of the machine.

    `queries` maps legends to queries; a metric in one needs no matcher for the job and the
    instance. `page` is a file of firmware-notes without its ending. `absent` is what stands there
    where no machine or no event has data for it.
    """

    kind: str
    title: str
    text: str
    unit: str
    page: str
    queries: dict
    limits: Limits = NO_LIMITS
    absent: str = ""
    width: int = 0
    height: int = 0
    options: dict = None
    custom: dict = None
    decimals: int = None
    names: bool = False
    detail: str = ""
    bounds: tuple = (None, None)


def stat(title, text, unit, page, queries, **more):
    """One number or word for each query, as it is now."""
    return Panel("stat", title, text, unit, page, queries, **{"width": 4, "height": 4, **more})


def graph(title, text, unit, page, queries, *, stacked=False, **more):
    """Lines over time."""
    custom = {"stacking": {"group": "A", "mode": "normal"}, "fillOpacity": 30} if stacked else {}
    return Panel(
        "timeseries", title, text, unit, page, queries, custom=custom,
        **{"width": 8, "height": 8, **more})


def states(title, text, unit, page, queries, **more):
    """A bar for each query that changes its colour with the state."""
    return Panel(
        "state-timeline", title, text, unit, page, queries, **{"width": 8, "height": 8, **more})


def table(title, text, page, queries, **more):
    """The labels of the series that there are now, one row each."""
    return Panel("table", title, text, "string", page, queries, **{"width": 8, "height": 5, **more})


def rate(metric):
    """Events or units a second, of each series."""
    return f"rate({metric}[$__rate_interval])"


def total(metric, by=""):
    """Events or units a second, of all series with the same labels `by` together."""
    return f"sum by ({by}) ({rate(metric)})" if by else f"sum({rate(metric)})"


def hourly(metric, by):
    """What happened within an hour, of what does not happen each minute."""
    return f"sum by ({by}) (increase({metric}[1h]))"


def quantiles(metric):
    """Half, 95 % and 99 % of what a histogram has seen lately, and the mean, which knows no
    buckets."""
    shares = {"half of them": 0.5, "95 %": 0.95, "99 %": 0.99}
    return {
        **{name: quantile(share, metric) for name, share in shares.items()},
        "mean": f"{total(metric + '_sum')} / {total(metric + '_count')}",
    }


def quantile(share, metric, by="le"):
    """The time or size that so large a share of a histogram's events stays below."""
    return f"histogram_quantile({share}, {total(metric + '_bucket', by)})"


def selected(query):
    """The query with the dashboard's job and instance in every selector."""

    def select(match):
        matchers = ", ".join(part for part in (SELECTION, match[2]) if part)
        return f"{match[1]}{{{matchers}}}"

    return METRIC.sub(select, query)


def dashboard(uid, title, text, sections, *, start="now-6h", refresh="1m"):
    """The document of a dashboard. `sections` maps the titles of rows to panels; an empty title
    has no row."""
    panels, top = [], 0
    for name, members in sections.items():
        if name:
            panels.append(row(name, len(panels) + 1, top))
            top += 1
        for line in lines(members):
            left, height = 0, max(panel.height for panel, _ in line)
            for panel, width in line:
                place = {"h": height, "w": width, "x": left, "y": top}
                panels.append(document(panel, len(panels) + 1, place))
                left += width
            top += height
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["kinglet"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": start, "to": "now"},
        "refresh": refresh,
        "annotations": {"list": [{
            "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True, "hide": True, "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations & Alerts", "type": "dashboard",
        }]},
        "links": [
            link("Kinglet", url="/d/kinglet-overview", icon="apps-view",
                 tooltip="Is everything well?"),
            link("Details", type="dashboards", tags=["kinglet"], as_dropdown=True,
                 tooltip="All dashboards of Kinglet"),
        ],
        "templating": {"list": variables()},
        "panels": panels,
    }


def lines(panels):
    """Panels in their order, as many beside each other as the grid has room for, with their widths;
    what is left of a line is shared among them."""
    lines = [[]]
    for panel in panels:
        if sum(other.width for other in lines[-1]) + panel.width > GRID:
            lines.append([])
        lines[-1].append(panel)
    for line in lines:
        each, rest = divmod(GRID - sum(panel.width for panel in line), len(line))
        yield [(panel, panel.width + each + (index < rest)) for index, panel in enumerate(line)]


def row(title, identity, top):
    return {
        "id": identity, "type": "row", "title": title, "collapsed": False, "panels": [],
        "gridPos": {"h": 1, "w": GRID, "x": 0, "y": top},
    }


def link(title, *, url="", type="link", icon="external link", tooltip="", tags=(),
         as_dropdown=False):
    """A link that keeps the time and the variables."""
    return {
        "title": title, "type": type, "url": url, "icon": icon, "tooltip": tooltip,
        "tags": list(tags), "asDropdown": as_dropdown, "targetBlank": False,
        "includeVars": True, "keepTime": True,
    }


def variables():
    """The data source first, for the others ask it; then a job, then one of its instances."""
    shared = {"hide": 0, "includeAll": False, "multi": False, "options": [], "regex": ""}
    queries = {
        "job": "label_values(kinglet_build_info, job)",
        "instance": 'label_values(kinglet_build_info{job="$job"}, instance)',
    }
    return [
        {"name": "ds_prometheus", "label": "Data source", "type": "datasource",
         "query": "prometheus", "refresh": 1, **shared},
    ] + [
        {"name": name, "label": name.capitalize(), "type": "query", "datasource": SOURCE,
         "query": {"query": query, "refId": "StandardVariableQuery"},
         "refresh": 2, "sort": 1, **shared}
        for name, query in queries.items()
    ]


def document(panel, identity, place):
    """A panel as Grafana reads it."""
    is_now = panel.kind in ("stat", "table")
    defaults = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": panel.limits.steps},
        "mappings": [],
        "custom": {**CUSTOM.get(panel.kind, {}), **(panel.custom or {})},
    }
    for name, value in {
        "decimals": panel.decimals, "min": panel.bounds[0], "max": panel.bounds[1],
        "noValue": panel.absent or None,
    }.items():
        if value is not None:
            defaults[name] = value
    if panel.kind == "timeseries" and len(panel.limits.steps) > 1:
        defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    result = {
        "id": identity,
        "type": panel.kind,
        "title": panel.title,
        "description": description(panel),
        "datasource": SOURCE,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": selected(query),
             "legendFormat": legend, "instant": is_now, "range": not is_now,
             "format": "table" if panel.kind == "table" else "time_series"}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {**OPTIONS[panel.kind], **(panel.options or {})},
        "gridPos": place,
    }
    if panel.kind == "stat":
        if panel.names:
            result["options"]["textMode"] = "name"
        elif len(panel.limits.steps) > 1:
            result["options"]["colorMode"] = "background"
    if panel.kind == "table":
        hidden = ("Time", "Value", "__name__", "job", "instance")
        result["transformations"] = [{
            "id": "organize", "options": {"excludeByName": {name: True for name in hidden}}}]
    if panel.detail:
        result["links"] = [link("Details", url=f"/d/{panel.detail}?{HERE}")]
    return result


def description(panel):
    parts = [panel.text]
    if panel.limits.alerts:
        parts.append(f"Alerts: {', '.join(panel.limits.alerts)}.")
    return " ".join(parts + [f"Page: firmware-notes/{panel.page}.md"])


LEGEND = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
TOOLTIP = {"mode": "multi", "sort": "none"}
CUSTOM = {
    "timeseries": {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 10,
        "showPoints": "never", "spanNulls": False, "stacking": {"group": "A", "mode": "none"},
    },
    "state-timeline": {"lineWidth": 0, "fillOpacity": 70},
}
OPTIONS = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "none", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
        "textMode": "auto",
    },
    "timeseries": {"legend": LEGEND, "tooltip": TOOLTIP},
    "state-timeline": {
        "legend": LEGEND, "tooltip": TOOLTIP, "mergeValues": True, "rowHeight": 0.9,
        "showValue": "auto",
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}

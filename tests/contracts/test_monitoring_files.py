"""Dashboard and alert rules name only metrics and labels that the app has."""

import json
import re
from pathlib import Path

import yaml

from freshly.chassis.jobs.admin import QueueStatistics
from freshly.chassis.observability.metrics import registry
from freshly.chassis.observability.processes import ProcessCollector
from freshly.chassis.web.endpoints.metrics import snapshot

DEPLOY = Path(__file__).parents[2] / "deploy"
BY_PROMETHEUS = {"job", "instance", "le"}
METRIC = re.compile(r"\b((?:freshly|process)_\w+|up)\b(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def labels_by_metric():
    """Return the labels of each name that `/metrics` shows."""
    found = {"up": set()}
    for name, collector in registry._names_to_collectors.items():  # noqa: SLF001 - no other way
        found[name] = set(collector._labelnames)  # noqa: SLF001 - no other way
    read_now = snapshot(QueueStatistics({}, 0.0, 0), 0, "1")
    for family in (*read_now, *ProcessCollector().collect()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = set(family._labelnames)  # noqa: SLF001 - no other way
    return found


def alerts():
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8"))
    return [alert for group in rules["groups"] for alert in group["rules"]]


def panels():
    return json.loads((DEPLOY / "grafana/freshly.json").read_text(encoding="utf-8"))["panels"]


def expressions():
    """Return each expression, and the texts that show its labels."""
    for alert in alerts():
        texts = " ".join(alert["annotations"].values())
        shown = re.findall(r"\$labels\.(\w+)", texts)
        yield alert["expr"], set(shown)
    for panel in panels():
        for target in panel.get("targets", ()):
            shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
            yield target["expr"], set(shown)


def grouping(expression):
    return {label.strip() for part in GROUPED.findall(expression) for label in part.split(",")}


def test_each_expression_uses_metrics_and_labels_that_the_app_has():
    known = labels_by_metric()
    for expression, shown in expressions():
        metrics = METRIC.findall(expression)
        assert metrics, expression
        for name, matchers in metrics:
            assert name in known, f"there is no metric {name}"
            matched = set(re.findall(r"(\w+)(?:=|!)", matchers))
            assert matched <= known[name] | BY_PROMETHEUS, expression
        available = set.union(*(known[name] for name, _ in metrics)) | BY_PROMETHEUS
        assert grouping(expression) | shown <= available, expression
        assert expression.count("(") == expression.count(")"), expression


def test_each_alert_says_what_to_do_and_whom_it_wakes():
    names = [alert["alert"] for alert in alerts()]

    assert len(set(names)) == len(names)
    for alert in alerts():
        assert alert["labels"]["severity"] in ("page", "ticket"), alert
        for text in ("summary", "runbook"):
            assert re.fullmatch(r"[A-Z][^\n]{20,}\.", alert["annotations"][text]), alert


def family(name):
    return re.sub(r"_(bucket|sum|count|total|created)$", "", name)


def test_each_metric_of_the_app_is_watched():
    shown = {family(name) for text, _ in expressions() for name, _ in METRIC.findall(text)}

    assert {family(name) for name in labels_by_metric()} - shown == set()


def test_panels_of_the_dashboard_do_not_overlap():
    taken = {}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]

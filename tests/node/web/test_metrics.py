"""Metrics: valid, without UIDs, and exactly those that dashboard and alert rules name."""

import json
import re
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from node.conditions import View, unreadable
from node.errors import DatabaseBusy
from node.web.metrics import exposed

DEPLOY = Path(__file__).parents[3] / "deploy"
NAME = re.compile(r"segnode_\w+")


def families(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_metrics_have_help_and_base_units(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation.endswith("."), family.name
        assert family.type == "gauge"
        assert not re.search(r"_(ms|mb|gib|minutes|hours)$", family.name)


def test_metrics_count_what_the_page_shows(client: TestClient) -> None:
    metrics = families(client.get("/metrics").text)
    conditions = {(one["code"], one["subject"]) for one, _ in metrics["segnode_condition"]}
    assert {("target-refuses", "archive"), ("target-silent", "pacs")} <= conditions
    jobs = {(one["kind"], one["state"]): value for one, value in metrics["segnode_jobs"]}
    assert (jobs["segment", "done"], jobs["deliver", "failed"]) == (6.0, 2.0)
    assert metrics["segnode_series_held"] == [({}, 1.0)]
    assert metrics["segnode_disk_free_bytes"][0][1] > 0


def test_metrics_hold_no_uid(client: TestClient, rows: sa.Engine) -> None:
    assert not re.search(r"\d+(\.\d+){4,}", client.get("/metrics").text)


def test_an_unreadable_database_is_a_metric() -> None:
    condition = unreadable(DatabaseBusy("locked"))
    text = exposed(View(at=time.time(), snapshot=None, conditions=(condition,))).decode()
    assert families(text)["segnode_database_readable"] == [({}, 0.0)]


@pytest.mark.parametrize("file", ["grafana.json", "prometheus-rules.yaml"])
def test_every_metric_that_is_named_exists(client: TestClient, file: str) -> None:
    text = (DEPLOY / file).read_text(encoding="utf-8")
    named = set(NAME.findall(text))
    assert named
    assert named <= families(client.get("/metrics").text).keys()


def test_dashboard_and_rules_are_well_formed() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        assert rule.keys() >= {"alert", "expr", "labels", "annotations"}

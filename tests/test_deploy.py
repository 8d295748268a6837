"""What stands in `deploy/` can be read by whom it is for, and speaks of names, paths and times that exist."""

import configparser
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.app import create_app
from service.hosts import Hosts
from service.settings import Settings
from service.settings_load import setting_paths, variable_of
from tests.server import RunningServer, echo_settings
from tests.service.metrics.scrape import Scraped

DEPLOY = Path(__file__).parent.parent / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "headwater.json"
UNIT = DEPLOY / "systemd" / "headwater.service"
KUBERNETES = DEPLOY / "kubernetes" / "headwater.yaml"
METRIC = re.compile(r"\bheadwater_\w+")
FLUSH_S = 5  # what service.server gives readers after the grace


def expressions(path: Path) -> list[str]:
    if path == ALERTS:
        return [rule["expr"] for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    panels = json.loads(path.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def labels_asked(expression: str) -> set[tuple[str, str]]:
    """Each label with the metric that is asked for it, where both stand together."""
    found = re.findall(r"(headwater_\w+)\{([^}]*)\}", expression)
    return {(metric, label) for metric, inner in found for label in re.findall(r"(\w+)\s*[=!]", inner)}


@pytest.fixture(scope="module")
def scraped(server: RunningServer) -> Scraped:
    httpx.post(f"{server.url}/predict", json={"text": "one two"})
    return Scraped(httpx.get(f"{server.url}/metrics").text)


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_that_is_asked_for_exists(path: Path, scraped: Scraped) -> None:
    samples = [sample for family in scraped.families.values() for sample in family.samples]
    known = {sample.name: set(sample.labels) for sample in samples}
    asked = {name for one in expressions(path) for name in METRIC.findall(one)}
    assert asked
    assert asked - set(known) == set()
    for one in expressions(path):
        for metric, label in labels_asked(one):
            assert label in known[metric], f"{metric} has no label {label}"


def test_parentheses_of_expressions_match() -> None:
    for one in (*expressions(ALERTS), *expressions(DASHBOARD)):
        assert (one.count("("), one.count("["), one.count("{")) == (one.count(")"), one.count("]"), one.count("}"))


def documents() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(KUBERNETES.read_text())}


def test_the_pod_has_no_rights_and_probes_that_exist() -> None:
    pod = documents()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths <= set(create_app(echo_settings()).openapi()["paths"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    claim = {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]}
    assert documents()["PersistentVolumeClaim"]["metadata"]["name"] in claim


def test_a_pod_answers_to_its_ingress_its_service_and_its_probes_and_to_no_other_name() -> None:
    given = documents()["ConfigMap"]["data"]
    settings = Settings(_env_file=None, allowed_hosts=given["HEADWATER_ALLOWED_HOSTS"], host=given["HEADWATER_HOST"])
    hosts = Hosts(settings.allowed_hosts, settings.host, own_name="headwater-5f6d-x2x")
    ingress = documents()["Ingress"]["spec"]
    names = [rule["host"] for rule in ingress["rules"]] + [host for one in ingress["tls"] for host in one["hosts"]]
    service = documents()["Service"]["metadata"]["name"]
    by_address = [f"10.244.1.7:{given['HEADWATER_PORT']}", f"[fd00::7]:{given['HEADWATER_PORT']}"]  # the kubelet's
    for name in (*names, service, f"{service}.default.svc", f"{service}.default.svc.cluster.local", *by_address):
        assert hosts.answers_to(name.encode()), name
    assert not hosts.answers_to(b"evil.example")


def test_neither_deployment_answers_anybody_without_a_key() -> None:
    assert documents()["ConfigMap"]["data"]["HEADWATER_ACCESS__REQUIRED"] == "true"
    assert "Environment=HEADWATER_ACCESS__REQUIRED=true" in UNIT.read_text().splitlines()


def test_a_pod_has_the_time_that_its_drain_takes() -> None:
    pod = documents()["Deployment"]["spec"]["template"]["spec"]
    stop = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    pause_s = int(re.findall(r"sleep\((\d+)\)", stop)[0])
    grace_s = int(documents()["ConfigMap"]["data"]["HEADWATER_SHUTDOWN_GRACE_S"])
    assert pod["terminationGracePeriodSeconds"] > pause_s + grace_s + FLUSH_S


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parser.read_string(UNIT.read_text())
    return parser


def test_the_unit_waits_for_the_drain_and_does_not_retry_a_wrong_setting() -> None:
    service = unit()["Service"]
    assert int(service["TimeoutStopSec"]) > Settings.model_fields["shutdown_grace_s"].default + FLUSH_S
    assert service["RestartPreventExitStatus"] == "2"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.parametrize("path", [UNIT, KUBERNETES], ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    known = {variable_of(name) for name in setting_paths(Settings)}
    assert set(re.findall(r"\bHEADWATER_[A-Z0-9_]+\b", path.read_text())) <= known

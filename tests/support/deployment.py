"""The files of deploy/, as data."""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ("freshly.service", "freshly-worker.service")


def text(path):
    return (DEPLOY / path).read_text(encoding="utf-8")


def compose():
    return yaml.safe_load(text("compose/compose.yaml"))


def compose_of_freshly():
    """Return the services of compose.yaml that run Freshly's image."""
    services = compose()["services"].items()
    return {name: one for name, one in services if one["image"].startswith("freshly:")}


def manifests():
    """Return the Kubernetes objects, by kind and name."""
    found = {}
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for one in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            metadata = one.get("metadata", {})
            name = metadata.get("name") or metadata.get("generateName", "")
            assert (one["kind"], name) not in found, (one["kind"], name)
            found[one["kind"], name] = one
    return found


def pods():
    """Return the pod templates of Kubernetes, by name."""
    return {
        name: one["spec"]["template"]
        for (kind, name), one in manifests().items()
        if kind in ("Deployment", "Job")
    }


def unit(name):
    """Return the lines of a systemd unit as pairs of key and value."""
    lines = text(f"systemd/{name}").splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"[A-Za-z]+=", line)]


def env_file():
    lines = text("systemd/freshly.env").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def instructions():
    """Return the instructions of the Dockerfile, each with its arguments on one line."""
    joined = re.sub(r"^#.*\n", "", text("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def instruction(name):
    """Return the arguments of the last instruction of this name."""
    return [arguments for one, arguments in instructions() if one == name][-1]


def image_environment():
    return dict(re.findall(r"([A-Z_]+)=(\S+)", instruction("ENV")))


def health_check():
    """Return the command of the image's health check."""
    return json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])

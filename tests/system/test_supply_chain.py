"""Packages are locked with hashes, and listed in a document."""

import json
import re
from pathlib import Path

import pytest

from tools.sbom import main

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
# They add nothing that Freshly uses, but code that a client or a file could reach.
UNUSED = {"websockets", "watchfiles", "pyyaml", "gunicorn", "requests"}


def locked(name):
    lock = (REQUIREMENTS / f"{name}.txt").read_text()
    return re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE)


@pytest.mark.parametrize("name", ["run", "develop", "uv"])
def test_every_package_is_locked_with_hashes(name):
    lock = (REQUIREMENTS / f"{name}.txt").read_text()
    packages = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)

    assert [package for package in packages if package and "--hash=sha256:" not in package] == []


def test_the_server_runs_without_packages_that_it_does_not_use():
    assert UNUSED & dict(locked("run")).keys() == set()


def test_the_script_installs_only_locked_files_without_building():
    script = (REQUIREMENTS.parent / "run").read_text()

    assert 'ONLY_LOCKED = ("--require-hashes", "--only-binary", ":all:")' in script
    assert script.count("*ONLY_LOCKED") == 2  # for uv, and by uv
    assert "shutil.which" not in script  # a uv on PATH may be any version, of any origin


def test_the_sbom_lists_each_locked_package_and_who_requires_it(tmp_path, capsys):
    first, second = tmp_path / "1.json", tmp_path / "2.json"

    assert main([str(first)]) == main([str(second)]) == 0

    sbom = json.loads(first.read_text())
    assert first.read_text() == second.read_text()
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    components = {one["name"]: one for one in sbom["components"]}
    assert [(one["name"], one["version"]) for one in sbom["components"]] == locked("run")
    assert all(one["hashes"] for one in components.values())
    assert components["fastapi"]["licenses"] == [{"expression": "MIT"}]
    requires = {one["ref"]: one["dependsOn"] for one in sbom["dependencies"]}
    starlette = components["starlette"]["purl"]
    assert starlette in requires[components["fastapi"]["purl"]]
    root = requires[sbom["metadata"]["component"]["bom-ref"]]
    assert components["fastapi"]["purl"] in root
    assert starlette not in root
    assert f"{len(sbom['components'])} packages" in capsys.readouterr().out

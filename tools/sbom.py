"""Write the packages that Freshly runs on as a CycloneDX document (SBOM).

    ./run sbom [FILE]

They are read from requirements/run.txt, and the licenses from the installed packages. The same lock
gives the same document: it has no time, and its serial number is a hash of its content.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from freshly import __version__

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "run.txt"
ECOSYSTEM = "py" + "pi"  # in package URLs; no file names a registry
DEFAULT_FILE = ROOT / "sbom.cdx.json"
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
REQUIRED_BY = re.compile(r"^    #(?: via|  ) ([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?$")
BY_FRESHLY = re.compile(r"^    #(?: via|  ) -r requirements/run\.in$")


@dataclass
class Package:
    name: str
    version: str
    hashes: list[str] = field(default_factory=list)
    required_by: list[str] = field(default_factory=list)  # "" is Freshly itself

    @property
    def purl(self) -> str:
        return f"pkg:{ECOSYSTEM}/{self.name}@{self.version}"


def main(arguments: Sequence[str]) -> int:
    path = Path(arguments[0]) if arguments else DEFAULT_FILE
    packages = locked_packages(LOCK.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document(packages), indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {len(packages)} packages")
    return 0


def locked_packages(lock: str) -> list[Package]:
    """Return the packages of a lock file that uv has written."""
    packages: list[Package] = []
    for line in lock.splitlines():
        if found := REQUIREMENT.match(line):
            packages.append(Package(found[1], found[2]))
        elif found := HASH.search(line):
            packages[-1].hashes.append(found[1])
        elif BY_FRESHLY.match(line):
            packages[-1].required_by.append("")
        elif found := REQUIRED_BY.match(line):
            packages[-1].required_by.append(found[1])
    return packages


def document(packages: Sequence[Package]) -> Mapping[str, Any]:
    freshly = f"pkg:generic/freshly@{__version__}"
    root = {"type": "application", "bom-ref": freshly, "name": "freshly", "version": __version__}
    # A package may be locked in several versions, for several systems.
    requirers = {"": [freshly], **{package.name: [] for package in packages}}
    for package in packages:
        requirers[package.name].append(package.purl)
    requires: dict[str, list[str]] = {purl: [] for purls in requirers.values() for purl in purls}
    for package in packages:
        for purl in (purl for name in package.required_by for purl in requirers[name]):
            requires[purl].append(package.purl)
    content = {
        "metadata": {"component": root},
        "components": [component(package) for package in packages],
        "dependencies": [
            {"ref": purl, "dependsOn": sorted(needed)} for purl, needed in requires.items()
        ],
    }
    serial = uuid5(NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    return {**head, "serialNumber": f"urn:uuid:{serial}", **content}


def component(package: Package) -> Mapping[str, Any]:
    """Return the component. Its hashes are those of all files that may be installed."""
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.hashes],
        **licenses(package.name),
    }


def licenses(name: str) -> Mapping[str, Any]:
    """Return the license of an installed package, or nothing if it does not name one."""
    try:
        about = metadata(name)
    except PackageNotFoundError:  # a package for another system
        return {}
    if expression := about.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    prefix = "License :: "
    classifiers = about.get_all("Classifier") or []
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith(prefix)]
    return {"licenses": [{"license": {"name": one}} for one in named]} if named else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

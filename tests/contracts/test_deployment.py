"""The files of deploy/ name only settings, commands, ports and paths that exist."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from freshly import __version__
from freshly.app import create_app
from freshly.cli import _parser
from freshly.commands.serve import KEEP_ALIVE_SECONDS, SHUTDOWN_GRACE_SECONDS
from freshly.settings import LARGEST_PICTURE_BODY, Settings, load
from tests.support import deployment, reverse_proxies
from tests.support.deployment import DEPLOY, ROOT, UNITS

NOT_OF_FRESHLY = {"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}  # in the image
# The versions of images have at least two numbers, such as 17.5-bookworm.
PINNED = re.compile(r"[a-z./-]+:\d+\.\d+[\w.-]*")
PROXY_READS_FOR = 90  # seconds


def secret_fields():
    fields = Settings.model_fields.items()
    return {name.upper() for name, field in fields if "SecretStr" in str(field.annotation)}


def environments():
    """Return the environments in which Freshly runs, as the files give them."""
    given = {name: one["environment"] for name, one in deployment.compose_of_freshly().items()}
    objects = deployment.manifests()
    given["kubernetes"] = objects["ConfigMap", "freshly"]["data"]
    given["secret"] = objects["Secret", "freshly"]["stringData"]
    given["systemd"] = deployment.env_file()
    for name in UNITS:
        pairs = (
            value.split("=", 1) for key, value in deployment.unit(name) if key == "Environment"
        )
        given[name] = dict(pairs)
    image = deployment.image_environment().items()
    given["image"] = {name: value for name, value in image if name not in NOT_OF_FRESHLY}
    return given


@pytest.mark.parametrize("place", sorted(environments()))
def test_each_setting_exists(place):
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in secret_fields()}

    assert environments()[place].keys() - known == set()


@pytest.mark.parametrize("place", ["app", "worker", "kubernetes", "systemd"])
def test_freshly_accepts_the_values(place, monkeypatch):
    for name, value in environments()[place].items():
        if not name.endswith("_FILE"):
            with_domain = str(value).replace(
                "${DOMAIN:?set DOMAIN, such as api.example.com}", "x.y"
            )
            default = re.sub(r"\$\{\w+:-(.*)\}", r"\1", with_domain)
            monkeypatch.setenv(name, default.replace("${DOMAIN}", "x.y"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://freshly:x@postgres/freshly")

    settings = load(data=False)

    assert settings.app_env == "production"
    assert settings.public_url.startswith("https://")
    assert settings.trusted_proxies
    assert settings.jobs == "worker"


def test_the_example_of_the_secret_has_no_values():
    secret = deployment.manifests()["Secret", "freshly"]["stringData"]

    assert set(secret.values()) == {""}
    assert {"DATABASE_URL", "REDIS_URL", "STORAGE_URL", "JWT_SECRET", "SECRET_KEY"} <= set(secret)


def test_the_script_makes_secrets_that_production_accepts_and_keeps_them(tmp_path, monkeypatch):
    script = shutil.copy(DEPLOY / "compose/make-secrets.sh", tmp_path)
    folder = tmp_path / "secrets"

    for _ in range(2):
        subprocess.run(["/bin/sh", script], check=True)
        made = {file.name: file.read_text() for file in folder.iterdir()}
    again = {file.name: file.read_text() for file in folder.iterdir()}

    assert made == again
    assert made.keys() == deployment.compose()["secrets"].keys()
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("APP_ENV", "production")
    for name in ("database_url", "jwt_secret", "secret_key"):
        monkeypatch.setenv(f"{name.upper()}_FILE", str(folder / name))
    database = load(data=False).database
    assert (database.host, database.password) == ("postgres", made["postgres_password"])


def test_each_command_exists():
    given = [one["command"] for one in deployment.compose_of_freshly().values()]
    given += [container(pod)["args"] for pod in deployment.pods().values()]
    given.append(json.loads(deployment.instruction("CMD")))
    for name in UNITS:
        program, *command = dict(deployment.unit(name))["ExecStart"].split()
        assert program == "/opt/freshly/.venv/bin/freshly"
        given.append(command)

    assert len(given) == 9
    for command in given:
        _parser().parse_args(command)


def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


def test_images_have_versions_and_freshly_has_that_of_this_release():
    compose = deployment.compose()["services"].values()
    inline = [one["build"].get("dockerfile_inline", "") for one in compose if "build" in one]
    bases = [
        arguments.split()[0] for name, arguments in deployment.instructions() if name == "FROM"
    ]
    images = [one["image"] for one in compose] + bases
    images += re.findall(r"^FROM (\S+)", "\n".join(inline), re.MULTILINE)
    objects = deployment.manifests()
    (image,) = objects["Kustomization", ""]["images"]
    job = container(objects["Job", "migrate-"]["spec"]["template"])["image"]

    assert len(set(bases)) == 1
    assert all(PINNED.fullmatch(image) for image in images), images
    assert {one for one in images if one.startswith("freshly:")} == {f"freshly:{__version__}"}
    assert job == f"{image['newName']}:{image['newTag']}"
    assert image["newTag"] == __version__


@pytest.mark.parametrize("name", sorted(deployment.compose()["services"]))
def test_a_service_of_compose_is_not_root_and_writes_only_where_it_must(name):
    service = deployment.compose()["services"][name]

    assert service["read_only"] is True
    assert not service["user"].startswith(("0", "root"))
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert ("ports" in service) == (name == "caddy")


@pytest.mark.parametrize("name", sorted(deployment.pods()))
def test_a_pod_is_not_root_and_writes_only_where_it_must(name):
    spec = deployment.pods()[name]["spec"]
    only = container(deployment.pods()[name])
    volumes = {volume["name"]: volume for volume in spec["volumes"]}

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {one["name"] for one in only["volumeMounts"]} == volumes.keys()
    assert only["resources"]["limits"]["memory"]
    uid = deployment.instruction("USER").partition(":")[0]
    assert spec["securityContext"]["runAsUser"] == int(uid) > 0


def test_the_image_contains_only_files_that_the_ignore_file_lets_in():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        arguments.split()[0]
        for name, arguments in deployment.instructions()
        if name == "COPY" and "--from" not in arguments
    }

    assert ignored[1] == "*"
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)
    assert "--require-hashes --only-binary :all:" in " ".join(deployment.text("Dockerfile").split())


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_the_health_check_of_the_image_asks_the_server(status, exit_status):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Print nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        done = subprocess.run(
            [sys.executable, *deployment.health_check()[1:]],
            env={"PORT": str(server.server_port)},
            capture_output=True,
            check=False,
        )

    assert (asked, done.returncode) == (["/health"], exit_status)


def test_probes_ask_paths_and_ports_that_exist(tmp_path):
    app = create_app(Settings(data_dir=tmp_path))
    paths = {route.path for route in app.routes}
    web = container(deployment.pods()["web"])
    probes = {name: web[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    traefik = yaml_of("traefik/freshly.yaml")["http"]["services"]["freshly"]["loadBalancer"]

    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/health",
        "liveness": "/health",
        "readiness": "/ready",
    }
    assert {"/health", "/ready", "/metrics", traefik["healthCheck"]["path"]} <= paths
    assert {probe["port"] for probe in probes.values()} == {web["ports"][0]["name"]}
    assert str(web["ports"][0]["containerPort"]) == deployment.image_environment()["PORT"]
    assert deployment.instruction("EXPOSE") == deployment.image_environment()["PORT"]


def yaml_of(path):
    return yaml.safe_load(deployment.text(path))


def test_kubernetes_objects_refer_to_objects_that_exist():
    objects, pods = deployment.manifests(), deployment.pods()
    labels = {name: pod["metadata"]["labels"] for name, pod in pods.items()}
    selected = {
        (kind, name): one["spec"].get("selector", one["spec"].get("podSelector", {}))
        for (kind, name), one in objects.items()
        if kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy")
    }
    for where, selector in selected.items():
        wanted = selector.get("matchLabels", {}).items()
        assert any(wanted <= one.items() for one in labels.values()), where
    assert objects["Service", "web"]["spec"]["selector"] == labels["web"]
    target = objects["HorizontalPodAutoscaler", "web"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in objects
    assert "replicas" not in objects["Deployment", "web"]["spec"]  # the autoscaler decides
    (allowed,) = objects["NetworkPolicy", "web"]["spec"]["ingress"]
    assert [port["port"] for port in allowed["ports"]] == [8000]
    sources = [source for pod in pods.values() for source in container(pod)["envFrom"]]
    assert {"configMapRef": {"name": "freshly"}} in sources
    assert {"secretRef": {"name": "freshly"}} in sources

    files = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")}
    applied = set(objects["Kustomization", ""]["resources"])
    assert files - applied == {"kustomization.yaml", "migrate.yaml", "secret.example.yaml"}
    namespaces = {one["metadata"].get("namespace") for one in objects.values() if "metadata" in one}
    assert namespaces == {"freshly", None}


def test_nothing_is_killed_before_freshly_has_drained():
    grace = {
        name: int(one["stop_grace_period"].removesuffix("s"))
        for name, one in deployment.compose_of_freshly().items()
        if name != "migrate"
    }
    grace |= {name: int(dict(deployment.unit(name))["TimeoutStopSec"]) for name in UNITS}
    for name in ("web", "worker"):
        grace[f"pod {name}"] = deployment.pods()[name]["spec"]["terminationGracePeriodSeconds"]
    grace["pod web"] -= int(
        container(deployment.pods()["web"])["lifecycle"]["preStop"]["exec"]["command"][1]
    )

    assert {name for name, seconds in grace.items() if seconds <= SHUTDOWN_GRACE_SECONDS} == set()


def test_proxies_close_idle_connections_first_and_wait_for_the_model(tmp_path):
    nginx = deployment.text("nginx/freshly.conf") + deployment.text("nginx/freshly-proxy.conf")
    caddy = deployment.text("caddy/freshly.caddy")
    traefik = yaml_of("traefik/freshly.yaml")["http"]["serversTransports"]["freshly"]
    timeouts = traefik["forwardingTimeouts"]
    model = Settings(data_dir=tmp_path).openai_timeout

    idle = re.findall(r"keepalive_timeout (\d+)s;  #|keepalive (\d+)s", nginx + caddy)
    idle = [int(one or other) for one, other in idle]
    idle.append(int(timeouts["idleConnTimeout"].removesuffix("s")))
    assert len(idle) == 3
    assert max(idle) < KEEP_ALIVE_SECONDS
    patience = re.findall(r"(?:proxy_read_timeout|response_header_timeout) (\d+)s", nginx + caddy)
    patience.append(timeouts["responseHeaderTimeout"].removesuffix("s"))
    assert [int(one) for one in patience] == [PROXY_READS_FOR] * 3
    assert model < PROXY_READS_FOR
    sizes = re.findall(r"(?:client_max_body_size|max_size) (\d+)M?m?B?", nginx + caddy)
    assert [int(one) * 1_000_000 > LARGEST_PICTURE_BODY for one in sizes] == [True, True]


def test_traefik_refers_to_what_exists_and_buffers_nothing():
    static, dynamic = yaml_of("traefik/traefik.yaml"), yaml_of("traefik/freshly.yaml")["http"]

    for router in dynamic["routers"].values():
        assert set(router["entryPoints"]) <= static["entryPoints"].keys()
        assert router["service"] in dynamic["services"]
        assert router["tls"]["certResolver"] in static["certificatesResolvers"]
    transport = dynamic["services"]["freshly"]["loadBalancer"]["serversTransport"]
    assert transport in dynamic["serversTransports"]
    assert "middlewares" not in dynamic
    assert static["providers"]["file"]["filename"] == "/etc/traefik/freshly.yaml"


def run(*command, cwd=ROOT):
    """Return the output of a linter that found something, else an empty text."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": os.defpath, "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def test_linters_find_nothing(tmp_path):
    tools = Path(sys.executable).parent
    reverse_proxies.write_nginx(tmp_path)
    reverse_proxies.write_caddy(tmp_path)
    nginx = (reverse_proxies.nginx_program(), "-t", "-q", "-p", tmp_path, "-c", "nginx.conf")

    assert run(tools / "hadolint", DEPLOY / "Dockerfile") == ""
    assert run(*nginx, "-e", "stderr", cwd=tmp_path) == ""
    for name in ("Caddyfile", "sub-path.Caddyfile"):
        adapter = ("--adapter", "caddyfile")
        assert run(tools / "caddy", "validate", "--config", DEPLOY / "caddy" / name, *adapter) == ""
        assert run(tools / "caddy", "fmt", "--diff", DEPLOY / "caddy" / name) == ""
    assert run("/bin/sh", "-n", DEPLOY / "compose/make-secrets.sh") == ""


def test_systemd_accepts_the_units_and_finds_them_well_protected(tmp_path):
    """Without systemd on the machine, only their directives are compared with the two units."""
    for name in UNITS:
        keys = {key for key, _ in deployment.unit(name)}
        assert {"NoNewPrivileges", "ProtectSystem", "SystemCallFilter", "UMask"} <= keys
        credentials = [value for key, value in deployment.unit(name) if key == "LoadCredential"]
        used = [value for key, value in deployment.unit(name) if "_FILE=%d/" in value]
        assert [one.partition(":")[0] for one in credentials] == [
            one.partition("%d/")[2] for one in used
        ]
        # The program of the unit is not installed here, so another takes its place.
        unit = deployment.text(f"systemd/{name}").replace(
            "/opt/freshly/.venv/bin/freshly", "/bin/true"
        )
        (tmp_path / name).write_text(unit)
    if shutil.which("systemd-analyze"):
        files = [tmp_path / name for name in UNITS]
        assert run("systemd-analyze", "verify", *files) == ""
        assert run("systemd-analyze", "security", "--offline=yes", "--threshold=20", *files) == ""

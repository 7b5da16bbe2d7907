"""Check with squawk that migrations leave the previous release running and block no table.

Each migration since FIRST is printed as SQL for PostgreSQL. A migration may break a rule for a
reason, which it gives: `exceptions = {"ban-drop-column": "no release since 0.3 reads it"}`. If it
takes away what an older release uses (INCOMPATIBLE), it also sets `serves_since`, see
src/freshly/commands/schema.py.
"""

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import Script, ScriptDirectory

from freshly.commands.schema import configuration, history

SQUAWK = Path(sys.executable).with_name("squawk")
FIRST = "serves_since"  # no release serves on both sides of the older migrations
OLDEST_POSTGRESQL = "13.0"
NOT_CHECKED = {
    "require-lock-timeout": "migrations/env.py sets it",
    "require-statement-timeout": "an index takes as long as it takes",
    "prefer-bigint-over-int": "ids are INTEGER since the existing app",
    "prefer-bigint-over-smallint": "a small number is enough where it is used",
    "prefer-identity": "SERIAL since the existing app",
    "prefer-text-field": "a limit is widened in the models, which no lock needs",
    "prefer-robust-stmts": "each migration is a transaction",
}
INCOMPATIBLE = {
    "adding-required-field",
    "ban-drop-column",
    "ban-drop-not-null",
    "ban-drop-table",
    "changing-column-type",
    "renaming-column",
    "renaming-table",
}


def main() -> int:
    checked = history()[: history().index(FIRST) + 1]
    scripts = ScriptDirectory.from_config(configuration())
    faults = [
        f"migrations/versions/{Path(script.path).name}: {fault}"
        for revision in checked
        if (script := scripts.get_revision(revision)) is not None
        for fault in find_faults(script)
    ]
    for fault in faults:
        print(fault)
    if not faults:
        print(f"migrations that the previous release can live with: {len(checked)}")
    return 1 if faults else 0


def find_faults(script: Script) -> Iterator[str]:
    exceptions: Mapping[str, str] = getattr(script.module, "exceptions", {})
    findings = lint(sql_of(script))
    for finding in findings:
        if finding["rule_name"] not in exceptions:
            yield f"{finding['rule_name']}: {finding['message']} {finding['help'] or ''}".rstrip()
    rules = {finding["rule_name"] for finding in findings}
    for rule in sorted(exceptions.keys() - rules):
        yield f"{rule}: the migration does not break this rule; remove the exception"
    if rules & INCOMPATIBLE and not hasattr(script.module, "serves_since"):
        broken = ", ".join(sorted(rules & INCOMPATIBLE))
        yield f"{broken}: set serves_since to the oldest revision whose release does without it"


def sql_of(script: Script) -> str:
    config = configuration()
    config.attributes["dialect"] = "postgresql"
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{script.down_revision}:{script.revision}", sql=True)
    return config.output_buffer.getvalue()


def lint(sql: str) -> list[dict[str, Any]]:
    rules = (f"--exclude={','.join(NOT_CHECKED)}", f"--pg-version={OLDEST_POSTGRESQL}")
    command_line = (SQUAWK, "--reporter=json", *rules)
    done = subprocess.run(  # noqa: S603 - our own tool
        command_line,
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not done.stdout:
        raise RuntimeError(f"squawk failed: {done.stderr}")
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


if __name__ == "__main__":
    sys.exit(main())

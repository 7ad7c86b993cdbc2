"""`python -m preview STACK`, as `make preview STACK=…` runs it: what a seminar would be, before there is one."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from preview import page, sections
from preview.plan import Plan, plan_of
from rehearsal.stackfile import StackFile
from stacks.errors import RequestError, SeminarError, SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import NAMESPACE

FORMAT = 1  # of the JSON document


def plan(stack: str, now: datetime) -> Plan:
    """What the stack's file of this checkout means. Raises SettingsError."""
    from preview.offline import declared_by

    stack_file = StackFile.load(stack, PROJECT_ROOT / f"Pulumi.{stack}.yaml")
    refuse_unreadable(stack_file)
    settings = stack_file.settings()
    seats = seat_everyone(enrol(settings))
    return plan_of(settings, seats, declared_by(settings, seats), now)


def refuse_unreadable(stack_file: StackFile) -> None:
    """Raise SettingsError for an encrypted setting, but for the password, which changes nothing that is shown."""
    if hidden := sorted(stack_file.encrypted - {"password"}):
        names = ", ".join(f"{NAMESPACE}:{name}" for name in hidden)
        raise SettingsError(
            f"Pulumi.{stack_file.stack}.yaml: {names} is encrypted, and a preview has no key; expected it in the "
            "clear. Of all settings only seminar:password is a secret."
        )


def run(asked: argparse.Namespace) -> int:
    """Show what was asked for. Returns the exit code. Raises SeminarError."""
    if not asked.stack:
        stacks = sorted(file.name[7:-5] for file in PROJECT_ROOT.glob("Pulumi.*.yaml"))
        raise RequestError(f"Which seminar? Expected STACK={' or STACK='.join(stacks)}.")
    found = plan(asked.stack, datetime.now(timezone.utc))
    if asked.json:
        print_json(asdict(found))
    elif asked.markdown:
        print(page.markdown(sections.title_of(found), sections.of_plan(found)))
    else:
        page.print_page(sections.title_of(found), sections.of_plan(found))
    return 0


def print_json(document: dict[str, Any]) -> None:
    print(json.dumps({"format": FORMAT, **document}, ensure_ascii=False, indent=2))


def tell(error: SeminarError, asked: argparse.Namespace) -> None:
    """Say why there is no preview, in the form that was asked for."""
    if asked.json:
        print_json({"stack": asked.stack, "faults": error.faults})
    elif asked.markdown:
        print(f"## {asked.stack}: refused\n\n{page.literally(error.faults)}\n")
    print(error, file=sys.stderr)


def main(words: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0, or 2 for settings that are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m preview", description="What a seminar would be: no CLI, no account, no network."
    )
    parser.add_argument("stack", help="the seminar, whose file is Pulumi.<stack>.yaml, for example aws-example")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one document for programs")
    form.add_argument("--markdown", action="store_true", help="as a pull request shows it")
    asked = parser.parse_args(words)
    try:
        return run(asked)
    except SeminarError as error:
        tell(error, asked)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

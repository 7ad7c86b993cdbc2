"""`python -m preview STACK`, as `make preview STACK=…` runs it: what a seminar would be, before there is one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime, timezone

from preview import page
from preview.report import Report, report_on
from preview.revision import Revision
from stacks.errors import RequestError, SeminarError
from stacks.folders import PROJECT_ROOT


def run(asked: argparse.Namespace) -> int:
    """Show what was asked for. Returns the exit code. Raises SeminarError."""
    if not asked.stack:
        stacks = sorted(file.name[7:-5] for file in PROJECT_ROOT.glob("Pulumi.*.yaml"))
        raise RequestError(f"Which seminar? Expected STACK={' or STACK='.join(stacks)}.")
    against = Revision.named(asked.against) if asked.against else None
    report = report_on(asked.stack, against, datetime.now(timezone.utc))
    show(report, asked)
    if report.faults:
        return RequestError.exit_code
    return int(asked.fail_on_replace and report.may_lose)


def show(report: Report, asked: argparse.Namespace) -> None:
    """Print a report in the form that was asked for; faults in sentences to standard error, too."""
    if asked.json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    elif asked.markdown:
        print(page.markdown(report.title(), report.sections()))
    elif not report.faults:
        page.print_page(report.title(), report.sections())
    for fault in report.faults:
        print(fault, file=sys.stderr)


def main(words: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0, 1 (someone would lose a machine) or 2 (the settings are wrong)."""
    parser = argparse.ArgumentParser(
        prog="python -m preview", description="What a seminar would be: no CLI, no account, no network."
    )
    parser.add_argument("stack", help="the seminar, whose file is Pulumi.<stack>.yaml, for example aws-example")
    parser.add_argument("--against", default="", help="what changes against a revision of git, for example origin/main")
    parser.add_argument(
        "--fail-on-replace", action="store_true", help="exit with 1 where somebody who has a machine would lose it"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one document for programs")
    form.add_argument("--markdown", action="store_true", help="as a pull request shows it")
    asked = parser.parse_args(words)
    try:
        if asked.fail_on_replace and not asked.against:
            raise RequestError("--fail-on-replace came without --against; expected the revision to compare with.")
        return run(asked)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SeminarError as error:
        show(Report(stack=asked.stack, faults=error.faults), asked)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

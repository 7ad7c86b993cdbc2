"""`python -m preview STACK`, as `make preview STACK=…` runs it: what a seminar would be, before there is one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime, timezone

from preview import page
from preview.report import FORMAT, Report, report_on
from preview.revision import Revision
from stacks.errors import RequestError, SeminarError
from stacks.folders import PROJECT_ROOT

NO_CHANGE = "No seminar is touched by this change: every stack file and every roster is as it was."


def run(asked: argparse.Namespace) -> int:
    """Show what was asked for. Returns the exit code. Raises SeminarError."""
    against = Revision.named(asked.against) if asked.against else None
    now = datetime.now(timezone.utc)
    if asked.changed and against:
        return _run_changed(asked, against, now)
    if not asked.stack:
        stacks = sorted(file.name[7:-5] for file in PROJECT_ROOT.glob("Pulumi.*.yaml"))
        raise RequestError(f"Which seminar? Expected STACK={' or STACK='.join(stacks)}.")
    report = report_on(asked.stack, against, now)
    if asked.json:
        _print_json(report.to_dict())
    else:
        _show(report, asked)
    _tell_faults(report)
    return _exit_code(report, asked)


def _run_changed(asked: argparse.Namespace, against: Revision, now: datetime) -> int:
    from preview.changed import changed_stacks, cloud_of

    stacks = changed_stacks(against)
    if asked.names:
        for stack in stacks:
            if (cloud := cloud_of(stack)) and asked.names in (cloud, "any"):
                print(stack)
        return 0
    reports = [report_on(stack, against, now) for stack in stacks]
    if asked.json:
        _print_json({"format": FORMAT, "stacks": [report.to_dict() for report in reports]})
    else:
        for report in reports:
            _show(report, asked)
        if not reports:
            print(NO_CHANGE)
    for report in reports:
        _tell_faults(report)
    return max((_exit_code(report, asked) for report in reports), default=0)


def _exit_code(report: Report, asked: argparse.Namespace) -> int:
    if report.faults:
        return RequestError.exit_code
    return int(asked.fail_on_replace and report.may_lose)


def _print_json(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))


def _show(report: Report, asked: argparse.Namespace) -> None:
    """Print a report for people."""
    if asked.markdown:
        print(page.markdown(report.title(), report.sections()))
    elif report.plan or report.comparison:
        page.print_page(report.title(), report.sections())


def _tell_faults(report: Report) -> None:
    """In sentences, on standard error: in every form."""
    for fault in report.faults:
        print(fault, file=sys.stderr)


def _refused(error: SeminarError, asked: argparse.Namespace) -> int:
    report = Report(stack=asked.stack, faults=error.faults)
    if asked.json:
        _print_json(report.to_dict())
    elif asked.markdown:
        print(page.markdown(report.title(), report.sections()))
    print(error, file=sys.stderr)
    return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m preview", description="What a seminar would be: no CLI, no account, no network."
    )
    parser.add_argument(
        "stack", nargs="?", default="", help="the seminar, whose file is Pulumi.<stack>.yaml, for example aws-example"
    )
    parser.add_argument("--against", default="", help="what changes against a revision of git, for example origin/main")
    parser.add_argument("--changed", action="store_true", help="every seminar that differs from --against")
    parser.add_argument(
        "--names",
        choices=("aws", "azure", "local", "any"),
        help="of those, only the names of one cloud's that are here",
    )
    parser.add_argument(
        "--fail-on-replace", action="store_true", help="exit with 1 where somebody who has a machine would lose it"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one document for programs")
    form.add_argument("--markdown", action="store_true", help="as a pull request shows it")
    return parser


def main(words: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0, 1 (someone would lose a machine) or 2 (the settings are wrong)."""
    asked = _parser().parse_args(words)
    try:
        for option in ("changed", "fail_on_replace"):
            if getattr(asked, option) and not asked.against:
                said = option.replace("_", "-")
                raise RequestError(f"--{said} came without --against; expected the revision to compare with.")
        return run(asked)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SeminarError as error:
        return _refused(error, asked)


if __name__ == "__main__":
    sys.exit(main())

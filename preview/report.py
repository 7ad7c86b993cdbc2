"""One seminar's preview: what it would be, and what that changes. Reads the files; shows nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from preview import differences, page, sections
from preview.compare import Comparison, Side, compare
from preview.plan import Plan, plan_of, refusals
from preview.revision import Revision
from rehearsal.stackfile import StackFile
from stacks.errors import SeminarError, SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import NAMESPACE

FORMAT = 1  # of the JSON document

# No end was past then: what another revision says was right when it was said.
_LONG_AGO = datetime(1, 1, 2, tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is told of one seminar. `faults` is why it is refused; `plan` is None where it can't be read, or is gone."""

    stack: str
    plan: Plan | None = None
    comparison: Comparison | None = None
    faults: tuple[str, ...] = ()

    @property
    def may_lose(self) -> bool:
        """Whether someone loses a machine, or nobody can tell."""
        return self.comparison is not None and bool(self.comparison.lost or self.comparison.faults)

    def to_dict(self) -> Mapping[str, Any]:
        """The document for programs."""
        document: dict[str, Any] = {"format": FORMAT, "stack": self.stack, "faults": self.faults}
        if self.plan:
            document |= {**asdict(self.plan), "cost": self._cost()}
        if self.comparison:
            lost = [seat.id for seat in self.comparison.lost]
            document["against"] = {**asdict(self.comparison), "lost": lost}
        return document

    def _cost(self) -> Mapping[str, Any] | None:
        cost = self.plan.cost if self.plan else None
        if cost is None:
            return None
        return {
            "currency": "USD",
            "per_machine_hour": str(cost.price.dollars) if cost.price else None,
            "source": cost.price.source if cost.price else None,
            "until_end": None if cost.total is None else str(cost.total),
            "budget": cost.budget or None,
        }

    def title(self) -> str:
        if self.plan:
            return sections.title_of(self.plan)
        return f"{self.stack}: refused" if self.faults else f"{self.stack}: deleted by this change"

    def sections(self) -> list[page.Section]:
        found = differences.of_comparison(self.comparison) if self.comparison else []
        if self.faults:
            found.insert(0, page.Section("Refused", tuple(page.Strong(fault) for fault in self.faults)))
        return [*found, *(sections.of_plan(self.plan) if self.plan else [])]


def report_on(stack: str, against: Revision | None, now: datetime) -> Report:
    """Look at one seminar, and at what it was. Raises SettingsError where there is no such seminar in either."""
    own = PROJECT_ROOT / f"Pulumi.{stack}.yaml"
    with tempfile.TemporaryDirectory(prefix="seminar-") as folder:
        old, faults = _old_side(stack, against, Path(folder)) if against else (None, ())
    if not own.exists() and against is not None:
        if old is not None:
            return _deleted(stack, old, against, now)
        if faults:
            return Report(stack=stack, comparison=_unreadable(against, faults))
    try:
        new = _side(StackFile.load(stack, own))
    except SeminarError as error:
        if not own.exists():
            raise
        return Report(stack=stack, faults=error.faults)
    plan = plan_of(new.settings, new.seats, new.declared, now)
    refused = refusals(new.settings, new.declared, now)
    if against is None:
        return Report(stack=stack, plan=plan, faults=refused)
    found = _unreadable(against, faults) if faults else compare(old, new, ref=against.ref, commit=against.commit)
    return Report(stack=stack, plan=plan, comparison=found, faults=refused)


def _unreadable(against: Revision, faults: tuple[str, ...]) -> Comparison:
    return Comparison(ref=against.ref, commit=against.commit, settings={}, faults=faults)


def _old_side(stack: str, against: Revision, folder: Path) -> tuple[Side | None, tuple[str, ...]]:
    """The seminar as the other revision has it, None where it has none; and what can't be read of it."""
    try:
        stack_file = against.checkout(stack, folder)
        return (_side(stack_file, folder, _LONG_AGO) if stack_file else None), ()
    except SeminarError as error:
        return None, error.faults


def _side(stack_file: StackFile, root: Path = PROJECT_ROOT, now: datetime | None = None) -> Side:
    from preview.offline import declared_by

    _refuse_unreadable(stack_file)
    settings = stack_file.settings(root, now)
    seats = seat_everyone(enrol(settings))
    return Side(settings, seats, declared_by(settings, seats), stack_file.values)


def _refuse_unreadable(stack_file: StackFile) -> None:
    """Raise SettingsError for an encrypted setting, but for the password, which changes nothing that is shown."""
    if hidden := sorted(stack_file.encrypted - {"password"}):
        names = ", ".join(f"{NAMESPACE}:{name}" for name in hidden)
        raise SettingsError(
            f"Pulumi.{stack_file.stack}.yaml: {names} is encrypted, and a preview has no key; expected it in the "
            "clear. Of all settings only seminar:password is a secret."
        )


def _deleted(stack: str, old: Side, against: Revision, now: datetime) -> Report:
    """The file is gone. Its machines go on: only while the seminar lasts does anyone lose something."""
    found = compare(old, None, ref=against.ref, commit=against.commit)
    note = (
        f"Nothing is destroyed by deleting Pulumi.{stack}.yaml: machines that are up stay, and cost, and no `pulumi "
        f"up` can change them any more. `pulumi destroy --stack {stack}` removes them; it needs no file."
    )
    ended = old.settings.ends is not None and old.settings.ends <= now
    seats = () if ended else found.seats
    return Report(
        stack=stack,
        comparison=Comparison(ref=found.ref, commit=found.commit, settings=found.settings, seats=seats, notes=(note,)),
    )

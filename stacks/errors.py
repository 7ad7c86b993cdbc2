"""The family of exceptions. Imports nothing.

Inside the project everything that a person can mend is a `SeminarError`. It is translated at two borders: `__main__.py`
turns it into `pulumi.RunError`, the Fabric tasks into an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable


class SeminarError(Exception):
    """One or more faults, each a sentence that says what came, what was expected and what to do.

    A fault never carries a secret: it may be printed and logged.
    """

    exit_code = 1

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class RequestError(SeminarError):
    """What was asked for can't be done as asked: a wrong setting, an unknown participant, no such stack."""

    exit_code = 2


class SettingsError(RequestError):
    """The stack file or the roster has faults, all of them in `faults`."""


class HandOverError(RequestError):
    """The stack's outputs are not a hand-over that this version can read."""


class EngineError(SeminarError):
    """The engine (the Pulumi CLI, or this process) could not carry out what was declared."""


class SeatError(SeminarError):
    """One seat failed. `evidence` holds the last lines of its log, free of secrets.

    `passing` is true where waiting may heal it (refused, reset, timed out: a machine that still boots).
    """

    def __init__(self, reason: str, *, evidence: str = "", passing: bool = False) -> None:
        super().__init__(reason)
        self.evidence = evidence
        self.passing = passing

"""Values that the settings, the hand-over and provisioning all know: a secret, a password, a git URL. Pure, and light.

They are apart from the settings, because every `fab` task needs them and none needs what the settings are made of.
"""

from __future__ import annotations

import re

LONGEST_PASSWORD = 200

_GIT_URL = re.compile(r"(https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+")


class Secret(str):
    """Text that must not be shown: its repr is masked. Use it as a str only where it leaves this process on purpose."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


def password_fault(password: str) -> tuple[str, str] | None:
    """What is wrong with a password that a person chose, as (what came, what was expected), or None."""
    if not 8 <= len(password) <= LONGEST_PASSWORD:
        return f"has {len(password)} characters", f"8 to {LONGEST_PASSWORD}"
    if not password.isprintable() or password != password.strip():
        return "has a control character, or a space at an end", "letters, digits, signs and spaces between them"
    return None


def is_git_url(materials: str) -> bool:
    """Whether `materials` is fetched by git on the machine, rather than copied from a folder here."""
    return _GIT_URL.fullmatch(materials) is not None

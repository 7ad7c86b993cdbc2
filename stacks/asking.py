"""How a cloud is asked before anything is made there, and how its refusals are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from stacks.errors import SettingsError

Answer = TypeVar("Answer")


def ask(cloud: str, what: str, question: Callable[[], Answer]) -> Answer:
    """One question to a cloud. Raises SettingsError in place of the SDK's bare Exception."""
    try:
        return question()
    except Exception as error:  # the SDKs raise no other kind
        raise SettingsError(f"{cloud} did not say {what}: {sentence(error)}") from error


def sentence(error: Exception) -> str:
    """What a cloud said, on one line and not at length."""
    # The SDK's text begins with the token of the function, which says nothing to an organiser.
    told = " ".join(str(error).split()).split(" failed: ", maxsplit=1)[-1]
    return told[:400].rstrip(". ") + "."

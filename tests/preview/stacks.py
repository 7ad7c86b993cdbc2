"""Stacks to preview, written into a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AWS = {"cloud": "aws", "region": "eu-central-1", "allowed-cidrs": ["192.88.99.0/24"], "ends": "2099-03-05 18:00 UTC"}
AZURE = {**AWS, "cloud": "azure", "region": "westeurope"}


def write(root: Path, stack: str, settings: Mapping[str, Any], *people: str) -> None:
    """A stack file, and a roster of people by id where they are named."""
    more: dict[str, Any] = {"roster": f"{stack}.csv"} if people else {}
    lines = [f"  seminar:{key}: {json.dumps(value)}" for key, value in {**settings, **more}.items()]
    (root / f"Pulumi.{stack}.yaml").write_text("\n".join(["config:", *lines, ""]), encoding="utf-8")
    if people:
        roster(root / f"{stack}.csv", *people)


def roster(path: Path, *people: str) -> None:
    """A roster. A person is an id, or an id and a name with a comma between."""
    rows = [person if "," in person else f"{person},Name of {person}" for person in people]
    path.write_text("\n".join(["id,name", *rows, ""]), encoding="utf-8")

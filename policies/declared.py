"""One resource as the program declares it, read from what it registers: what rules judge and a preview compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stacks.envelopes import in_clear, plain

# What the program makes beside the cloud's own, and Pulumi's groups of resources.
STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True)
class Declared:
    """A resource. `inputs` are as Pulumi spells them, secrets opened; `clear` has None in the place of each secret.

    `ignored` are the inputs that never change one that exists; `references` says for an input which resources it is
    taken from, by key. `is_group` is true for a component, which is nothing in a cloud.
    """

    kind: str
    name: str
    inputs: Mapping[str, Any] = field(repr=False)
    clear: Mapping[str, Any]
    ignored: frozenset[str] = frozenset()
    references: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_group: bool = False

    @property
    def key(self) -> str:
        """What names it in its stack: kind and name."""
        return f"{self.kind}::{self.name}"

    @classmethod
    def of(cls, request: Any) -> Declared:
        """Read a RegisterResourceRequest of Pulumi's protocol."""
        from pulumi.runtime import rpc

        sent = rpc.deserialize_properties(request.object)
        return cls(
            kind=request.type,
            name=request.name,
            inputs={name: plain(value) for name, value in sent.items() if not name.startswith("__")},
            clear={name: in_clear(value) for name, value in sent.items() if not name.startswith("__")},
            ignored=frozenset(request.ignoreChanges),
            references={
                name: frozenset(key_of(urn) for urn in each.urns) for name, each in request.propertyDependencies.items()
            },
            is_group=not request.custom,
        )


def key_of(urn: str) -> str:
    """A resource's key, from its URN: `urn:pulumi:<stack>::<project>::<parents>$<kind>::<name>`."""
    *_, kinds, name = urn.split("::", maxsplit=3)
    return f"{kinds.rsplit('$', maxsplit=1)[-1]}::{name}"

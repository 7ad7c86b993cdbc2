"""The hand-over: the versioned document that the stack exports and that Fabric reads. Pure.

It is a published format: a field may be added with a default; renaming or removing one raises FORMAT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from stacks.errors import HandOverError
from stacks.values import Secret, is_git_url

FORMAT = 1

# What Pulumi writes for a value that is not known (pulumi.runtime.rpc.UNKNOWN): here, of a machine that was not made.
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

# The one thing that goes the other way: a JSON object, seat id -> password ("" for a generated one), that `fab
# set-password` hands to one `pulumi up`. In the environment and not in argv, which every user of the computer can read.
NEW_PASSWORDS_VARIABLE = "SEMINAR_NEW_PASSWORDS"


@dataclass(frozen=True, kw_only=True)
class HandOverSeat:
    """How one seat is reached.

    `host` is "" where its machine has no address: it was not made, or is stopped. `ssh_ports` in the order to try them;
    `host_key` as in known_hosts, without the host ("ssh-ed25519 AAAA…"); `files` is the folder with the participant's
    key and ssh_config where they lie on this computer (the rehearsal), else "".
    """

    id: str
    name: str
    machine: str
    host: str
    ssh_ports: tuple[int, ...]
    user: str
    notebook_port: int
    local_port: int
    host_key: str
    files: str = ""

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> HandOverSeat:
        """Read one of the hand-over's `seats`. Raises HandOverError."""
        return _seat(document)


@dataclass(frozen=True, kw_only=True)
class SeatSecrets:
    """What one seat must keep to itself. `private_key` is in OpenSSH's format."""

    password: Secret
    password_hash: Secret
    private_key: Secret


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The organiser's key and, by seat id, each seat's secrets."""

    organiser_key: Secret
    seats: Mapping[str, SeatSecrets]

    def to_dict(self) -> dict[str, Any]:
        """The value of the stack's output `secrets`."""
        return {
            "organiser_key": str(self.organiser_key),
            "seats": {id_: {key: str(text) for key, text in asdict(seat).items()} for id_, seat in self.seats.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Secrets:
        """Read what `to_dict` wrote. Raises HandOverError, which never shows a value."""
        return cls(
            organiser_key=Secret(_take(document, "organiser_key", str, "secrets")),
            seats={
                id_: SeatSecrets(
                    **{
                        f.name: Secret(_take(_mapping(seat, f"secrets of {id_}"), f.name, str, f"secrets of {id_}"))
                        for f in fields(SeatSecrets)
                    }
                )
                for id_, seat in _take(document, "seats", Mapping, "secrets").items()
            },
        )


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """Everything that provisioning needs to know of a seminar, but for its secrets.

    `materials` is a folder (relative ones from the project's root), a git URL, or "".
    """

    seminar: str
    workdir: str
    interface: str
    materials: str = ""
    seats: tuple[HandOverSeat, ...] = field(default=())

    @property
    def materials_are_fetched(self) -> bool:
        """Whether the materials are a git URL, which the machine fetches, and no folder here."""
        return is_git_url(self.materials)

    def to_dict(self) -> dict[str, Any]:
        """The value of the stack's output `handover`."""
        document = asdict(self)
        document["seats"] = [{**asdict(seat), "ssh_ports": list(seat.ssh_ports)} for seat in self.seats]
        return {"format": FORMAT, **document}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> HandOver:
        """Read what `to_dict` wrote, of this format. Raises HandOverError."""
        came = document.get("format")
        if came != FORMAT:
            raise HandOverError(
                f"The hand-over has format {came!r}; this version reads {FORMAT}. "
                "Run `pulumi up` again, or use the version that made it."
            )
        return cls(
            seminar=_take(document, "seminar", str),
            workdir=_take(document, "workdir", str),
            interface=_take(document, "interface", str),
            materials=_take(document, "materials", str),
            seats=tuple(_seat(_mapping(seat, "a seat")) for seat in _take(document, "seats", list)),
        )


def _seat(document: Mapping[str, Any]) -> HandOverSeat:
    where = f"seat {document.get('id', '?')}"
    ports = _take(document, "ssh_ports", list, where)
    if not ports or not all(_is_number(port) for port in ports):
        raise HandOverError(f"The hand-over's {where} has ssh_ports {ports!r}; expected port numbers.")
    host = _take(document, "host", str, where)
    return HandOverSeat(
        id=_take(document, "id", str, where),
        name=_take(document, "name", str, where),
        machine=_take(document, "machine", str, where),
        host="" if host == _UNKNOWN else host,
        ssh_ports=tuple(int(port) for port in ports),
        user=_take(document, "user", str, where),
        notebook_port=_take(document, "notebook_port", int, where),
        local_port=_take(document, "local_port", int, where),
        host_key=_take(document, "host_key", str, where),
        files=_take(document, "files", str, where) if "files" in document else "",
    )


def _is_number(value: object) -> bool:
    # Pulumi hands every number on as a float.
    return value.is_integer() if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)


def _take(document: Mapping[str, Any], key: str, kind: type, where: str = "document") -> Any:
    value = document.get(key)
    if kind is int and _is_number(value):
        return int(value)  # type: ignore[arg-type]  # _is_number saw a number
    if not isinstance(value, kind) or isinstance(value, bool):
        raise HandOverError(
            f"The hand-over's {where} has no {key} ({kind.__name__.lower()}) that can be read; run `pulumi up` again."
        )
    return value


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise HandOverError(f"The hand-over's {where} is no mapping; run `pulumi up` again.")
    return value

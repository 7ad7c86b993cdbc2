"""Keys, host keys and passwords: made once, kept as secrets in the stack's state.

Two dynamic resources: the organiser's key, and each machine's credentials (its host key and, by seat, a login key, a
password and the password's hash). They are keyed by machine and seat id: nobody's secrets follow from another's.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from stacks.errors import SettingsError
from stacks.outputs import NEW_PASSWORDS_VARIABLE
from stacks.seats import Seat, by_machine
from stacks.settings import SeminarSettings
from stacks.values import password_fault

_CONSONANTS, _VOWELS = "bdfghjkmnprstvz", "aeiou"  # without letters that look or sound alike
_PASSWORD_GROUPS = 4  # of two syllables: 4 * 2 * log2(15 * 5) = 49.8 bits, against a server that only loopback reaches

# OWASP's Password Storage Cheat Sheet gives m=9 MiB, t=4, p=1 as one of five equal choices for argon2id. Jupyter checks
# a hash with the costs that are written in it.
_ARGON2_TIME, _ARGON2_KIB, _ARGON2_LANES = 4, 9 * 1024, 1


def new_password() -> str:
    """A password that a person can read aloud and type, such as `tibo-rena-kuvi-jado`."""
    syllables = [secrets.choice(_CONSONANTS) + secrets.choice(_VOWELS) for _ in range(2 * _PASSWORD_GROUPS)]
    return "-".join(syllables[i] + syllables[i + 1] for i in range(0, len(syllables), 2))


def jupyter_hash(password: str) -> str:
    """The password's hash in the form that `jupyter server password` writes, "argon2:$argon2id$…"."""
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=_ARGON2_TIME, memory_cost=_ARGON2_KIB, parallelism=_ARGON2_LANES)
    return "argon2:" + hasher.hash(password)


def new_key(comment: str) -> tuple[str, str]:
    """A fresh ed25519 key as (private in OpenSSH's format, public as one line with the comment)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {comment}"


def _new_seat(seat_id: str, password: str) -> dict[str, str]:
    private, public = new_key(f"seminar-{seat_id}")
    return {
        "password": password,
        "password_hash": jupyter_hash(password),
        "private_key": private,
        "public_key": public,
    }


class _OrganiserKeyProvider(ResourceProvider):
    serialize_as_secret_always = False  # the provider itself holds nothing

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)

    def create(self, _props: dict[str, Any]) -> CreateResult:
        private, public = new_key("seminar-organiser")
        return CreateResult("organiser", {"private_key": private, "public_key": public})


class OrganiserKey(Resource, name="OrganiserKey"):
    """The key that opens every seat to the organiser."""

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
        props = {"private_key": None, "public_key": None}
        super().__init__(_OrganiserKeyProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


class _MachineCredentialsProvider(ResourceProvider):
    """Inputs: `seat_ids`, `shared_password` ("" for one each), `new_passwords` (seat id -> password, for this run).

    Outputs: those, `host_private_key`, `host_key`, and `seats`: seat id -> password, password_hash, keys.
    """

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        seats = olds["seats"]
        return DiffResult(
            changes=set(seats) != set(news["seat_ids"])
            or olds["shared_password"] != news["shared_password"]
            or any(seats[id_]["password"] != text for id_, text in news["new_passwords"].items() if id_ in seats)
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        private, public = new_key(f"seminar-host-{props['machine']}")
        outs = {**props, "host_private_key": private, "host_key": " ".join(public.split()[:2]), "seats": {}}
        return CreateResult(props["machine"], {**outs, "seats": self._seats(props, {}, shared_is_new=True)})

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        shared_is_new = olds["shared_password"] != news["shared_password"]
        seats = self._seats(news, olds["seats"], shared_is_new=shared_is_new)
        kept = {key: olds[key] for key in ("host_private_key", "host_key")}
        return UpdateResult({**news, **kept, "seats": seats})

    @staticmethod
    def _seats(
        news: Mapping[str, Any], olds: Mapping[str, dict[str, str]], *, shared_is_new: bool
    ) -> dict[str, dict[str, str]]:
        shared = news["shared_password"]
        seats: dict[str, dict[str, str]] = {}
        for id_ in news["seat_ids"]:
            old = olds.get(id_)
            wanted = None
            if id_ in news["new_passwords"]:
                wanted = news["new_passwords"][id_] or new_password()
            elif old is None or shared_is_new:
                wanted = shared or new_password()
            if old is None:
                seats[id_] = _new_seat(id_, wanted or new_password())
            elif wanted and wanted != old["password"]:
                seats[id_] = {**old, "password": wanted, "password_hash": jupyter_hash(wanted)}
            else:
                seats[id_] = old
        return seats


class MachineCredentials(Resource, name="MachineCredentials"):
    """One machine's host key and its seats' secrets."""

    host_private_key: pulumi.Output[str]
    host_key: pulumi.Output[str]
    seats: pulumi.Output[dict[str, dict[str, str]]]

    def __init__(
        self,
        name: str,
        *,
        machine: str,
        seat_ids: list[str],
        shared_password: str,
        new_passwords: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "machine": machine,
            "seat_ids": seat_ids,
            "shared_password": pulumi.Output.secret(shared_password),
            "new_passwords": pulumi.Output.secret(dict(new_passwords)),
            "host_private_key": None,
            "host_key": None,
            "seats": None,
        }
        secret = pulumi.ResourceOptions(
            additional_secret_outputs=["host_private_key", "seats", "shared_password", "new_passwords"]
        )
        super().__init__(_MachineCredentialsProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def credentials_for(seats: tuple[Seat, ...], settings: SeminarSettings) -> dict[str, MachineCredentials]:
    """Declare the credentials of each machine, by machine id. Raises SettingsError."""
    new = new_passwords_from(os.environ.get(NEW_PASSWORDS_VARIABLE, ""))
    return {
        machine: MachineCredentials(
            f"credentials-{machine}",
            machine=machine,
            seat_ids=[seat.id for seat in sitting],
            shared_password=settings.password or "",
            new_passwords={seat.id: new[seat.id] for seat in sitting if seat.id in new},
        )
        for machine, sitting in by_machine(seats).items()
    }


def new_passwords_from(text: str) -> dict[str, str]:
    """Read NEW_PASSWORDS_VARIABLE's value. Raises SettingsError, without ever showing it."""
    if not text:
        return {}
    try:
        passwords = json.loads(text)
        good = all(isinstance(value, str) and not (value and password_fault(value)) for value in passwords.values())
    except (ValueError, AttributeError):
        good = False
    if not good:
        raise SettingsError(f"{NEW_PASSWORDS_VARIABLE} can't be read; leave it to `fab set-password` to set it.")
    return dict(passwords)

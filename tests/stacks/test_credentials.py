"""Secrets are made once and kept: what a run does not ask to change stays byte for byte."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import argon2
import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from stacks.credentials import (
    _MachineCredentialsProvider,
    _OrganiserKeyProvider,
    jupyter_hash,
    new_key,
    new_password,
    new_passwords_from,
)
from stacks.errors import SettingsError
from stacks.outputs import NEW_PASSWORDS_VARIABLE

SHAPE = re.compile(r"[a-z]{4}(-[a-z]{4}){3}")
PROVIDER = _MachineCredentialsProvider()


def wanted(*seat_ids: str, shared: str = "", new: dict[str, str] | None = None) -> dict[str, Any]:
    """The inputs of one machine."""
    return {"machine": "m1", "seat_ids": list(seat_ids), "shared_password": shared, "new_passwords": new or {}}


def created(inputs: dict[str, Any]) -> dict[str, Any]:
    return dict(PROVIDER.create(inputs).outs or {})


def up(olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    """The outputs after one run: updated if the provider sees a change, else as they are."""
    if not PROVIDER.diff("m1", olds, news).changes:
        return olds
    return dict(PROVIDER.update("m1", olds, news).outs or {})


def verifies(seat: dict[str, str]) -> bool:
    return argon2.PasswordHasher().verify(seat["password_hash"].removeprefix("argon2:"), seat["password"])


def keys(seat: dict[str, str]) -> tuple[str, str]:
    return seat["private_key"], seat["public_key"]


def test_a_new_password_can_be_read_aloud_and_never_comes_twice() -> None:
    passwords = {new_password() for _ in range(1000)}
    assert len(passwords) == 1000
    assert all(SHAPE.fullmatch(password) for password in passwords)
    assert not set("lqcwxy") & set("".join(passwords))


@pytest.mark.parametrize("password", ["open sesame", 'it\'s "$HOME" `id` \\n', "пароль-für-alle"])
def test_the_hash_is_one_that_jupyter_reads(password: str) -> None:
    hashed = jupyter_hash(password)
    assert hashed.startswith("argon2:$argon2id$")
    assert argon2.PasswordHasher().verify(hashed.removeprefix("argon2:"), password)
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hashed.removeprefix("argon2:"), password + " ")
    assert jupyter_hash(password) != hashed


def test_a_new_key_loads_everywhere() -> None:
    private, public = new_key("seminar-ada")
    assert public.split()[0] == "ssh-ed25519"
    assert public.split()[2] == "seminar-ada"
    loaded = load_ssh_private_key(private.encode(), None)
    assert isinstance(loaded, Ed25519PrivateKey)
    assert loaded.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() in public
    assert paramiko.Ed25519Key(file_obj=io.StringIO(private)).get_base64() == public.split()[1]
    assert new_key("seminar-ada")[0] != private


def test_the_organiser_key_is_never_made_anew() -> None:
    provider = _OrganiserKeyProvider()
    outs = provider.create({}).outs or {}
    assert sorted(outs) == ["private_key", "public_key"]
    assert not provider.diff("organiser", outs, {"private_key": None, "public_key": None}).changes


def test_create_makes_a_host_key_and_each_seats_secrets() -> None:
    result = PROVIDER.create(wanted("ada", "bose"))
    outs = result.outs or {}
    assert result.id == "m1"
    assert (
        paramiko.Ed25519Key(file_obj=io.StringIO(outs["host_private_key"])).get_base64() == outs["host_key"].split()[1]
    )
    assert len(outs["host_key"].split()) == 2
    assert list(outs["seats"]) == ["ada", "bose"]
    for id_, seat in outs["seats"].items():
        assert sorted(seat) == ["password", "password_hash", "private_key", "public_key"]
        assert seat["public_key"].endswith(f" seminar-{id_}")
        assert SHAPE.fullmatch(seat["password"])
        assert verifies(seat)
    secrets = [text for seat in outs["seats"].values() for text in seat.values()]
    assert len(set(secrets)) == len(secrets)


def test_create_gives_everyone_the_shared_password_but_who_has_a_new_one() -> None:
    seats = created(wanted("ada", "bose", "curie", shared="open sesame", new={"bose": "only bose", "curie": ""}))[
        "seats"
    ]
    assert seats["ada"]["password"] == "open sesame"
    assert seats["bose"]["password"] == "only bose"
    assert SHAPE.fullmatch(seats["curie"]["password"])
    assert all(verifies(seat) for seat in seats.values())


@pytest.mark.parametrize("shared", ["", "open sesame"])
def test_the_same_again_is_no_change(shared: str) -> None:
    outs = created(wanted("ada", "bose", shared=shared))
    assert not PROVIDER.diff("m1", outs, wanted("ada", "bose", shared=shared)).changes


def test_seats_in_another_order_are_no_change() -> None:
    """Pulumi's protocol hands maps on in no order, and a roster may be sorted anew."""
    outs = created(wanted("bose", "ada"))
    outs["seats"] = {id_: outs["seats"][id_] for id_ in sorted(outs["seats"])}
    assert not PROVIDER.diff("m1", outs, wanted("bose", "ada")).changes
    assert not PROVIDER.diff("m1", outs, wanted("ada", "bose")).changes


def test_a_seat_that_joins_or_leaves_changes_no_other() -> None:
    one = created(wanted("ada"))
    assert PROVIDER.diff("m1", one, wanted("ada", "bose")).changes
    two = up(one, wanted("ada", "bose"))
    assert two["seats"]["ada"] == one["seats"]["ada"]
    assert verifies(two["seats"]["bose"])
    assert (two["host_private_key"], two["host_key"]) == (one["host_private_key"], one["host_key"])
    left = up(two, wanted("bose"))
    assert left["seats"] == {"bose": two["seats"]["bose"]}
    assert left["host_key"] == one["host_key"]


def test_a_seat_that_joins_gets_the_shared_password() -> None:
    outs = up(created(wanted("ada", shared="open sesame")), wanted("ada", "bose", shared="open sesame"))
    assert outs["seats"]["bose"]["password"] == "open sesame"


def test_another_shared_password_is_everyones() -> None:
    before = created(wanted("ada", "bose"))
    after = up(before, wanted("ada", "bose", shared="open sesame"))
    for id_, seat in after["seats"].items():
        assert seat["password"] == "open sesame"
        assert verifies(seat)
        assert keys(seat) == keys(before["seats"][id_])
    apart = up(after, wanted("ada", "bose"))
    assert len({seat["password"] for seat in apart["seats"].values()} | {"open sesame"}) == 3
    assert all(verifies(seat) for seat in apart["seats"].values())


def test_a_new_password_is_set_for_that_seat_alone_and_kept() -> None:
    before = created(wanted("ada", "bose"))
    after = up(before, wanted("ada", "bose", new={"ada": "it's $ada's"}))
    assert after["seats"]["ada"]["password"] == "it's $ada's"
    assert verifies(after["seats"]["ada"])
    assert keys(after["seats"]["ada"]) == keys(before["seats"]["ada"])
    assert after["seats"]["bose"] == before["seats"]["bose"]
    assert up(after, wanted("ada", "bose")) == after
    assert up(after, wanted("ada", "bose", new={"ada": "it's $ada's"}))["seats"] == after["seats"]


def test_an_empty_new_password_is_generated() -> None:
    before = created(wanted("ada", "bose", shared="open sesame"))
    after = up(before, wanted("ada", "bose", shared="open sesame", new={"ada": ""}))
    assert SHAPE.fullmatch(after["seats"]["ada"]["password"])
    assert after["seats"]["bose"] == before["seats"]["bose"]
    assert up(after, wanted("ada", "bose", shared="open sesame"))["seats"] == after["seats"]


def test_new_passwords_are_kept_while_others_join() -> None:
    before = up(created(wanted("ada", shared="open sesame")), wanted("ada", shared="open sesame", new={"ada": ""}))
    after = up(before, wanted("ada", "bose", shared="open sesame"))
    assert after["seats"]["ada"] == before["seats"]["ada"]


@pytest.mark.parametrize("passwords", [{}, {"ada": ""}, {"ada": "it's $ada's", "bose": "пароль-für-alle"}])
def test_new_passwords_are_read(passwords: dict[str, str]) -> None:
    assert new_passwords_from(json.dumps(passwords)) == passwords
    assert new_passwords_from("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "hush-hush",
        '{"ada": "hush-hush"',
        '"hush-hush"',
        '["hush-hush"]',
        "7",
        "null",
        '{"ada": 7}',
        '{"ada": null}',
        '{"ada": ["hush-hush"]}',
        '{"ada": "hush-7c"}',
        '{"ada": "hush-hush "}',
        '{"ada": "hush\\nhush"}',
    ],
)
def test_bad_new_passwords_are_never_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        new_passwords_from(text)
    assert str(caught.value) == f"{NEW_PASSWORDS_VARIABLE} can't be read; leave it to `fab set-password` to set it."
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # a JSONDecodeError carries the text

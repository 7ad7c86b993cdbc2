"""A zip for each participant: written where it is new or has changed, so that it is known whose must be sent again."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from provisioning.fleet import SeatResult
from provisioning.inventory import Inventory
from provisioning.pack_files import File, files_of, pack_name, windows_name
from stacks.errors import SeatError
from stacks.folders import make_private, packs_folder, write_private
from stacks.outputs import HandOverSeat

_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can tell: the same pack is the same bytes on every day
_UNIX = 3  # "version made by", APPNOTE.TXT 4.4.2: unzip and macOS then take the modes, and Windows ignores them


def write(inventory: Inventory) -> list[SeatResult]:
    """Write the packs of the inventory's seats, 0600 in a folder 0700; returns how each seat ended.

    `details` has `pack`, the file, and `send`: "new", "again" or "" (unchanged), with the files that differ in `files`.
    A seat that can't have a pack has its reason. Raises OSError (a full disk, say).
    """
    folder = make_private(packs_folder(inventory.stack))
    return [_write(inventory, seat, folder) for seat in inventory.seats]


def remove_strangers(inventory: Inventory) -> list[str]:
    """Remove the packs of those who take part no longer: they hold secrets. Returns what was done, in sentences."""
    known = {_file_name(seat) for seat in inventory.handover.seats}
    strangers = [path for path in sorted(packs_folder(inventory.stack).glob("*.zip")) if path.name not in known]
    for path in strangers:
        path.unlink()
    return [f"Removed {path.name}: its participant takes part no longer." for path in strangers]


def to_send(results: Sequence[SeatResult]) -> list[str]:
    """Whose pack must be sent, and where the packs are, in sentences."""
    new = [result.seat.id for result in results if result.details.get("send") == "new"]
    again = [
        f"{result.seat.id} ({', '.join(result.details['files'])})"
        for result in results
        if result.details.get("send") == "again"
    ]
    folders = {str(Path(result.details["pack"]).parent) for result in results if "pack" in result.details}
    told = [f"The packs are in {folder}/." for folder in folders]
    told += [f"To send: {', '.join(new)}."] if new else []
    told += [f"To send again, for they have changed: {', '.join(again)}."] if again else []
    return told if new or again or not folders else [*told, "None needs to be sent again."]


def _write(inventory: Inventory, seat: HandOverSeat, folder: Path) -> SeatResult:
    try:
        files = files_of(inventory.handover.seminar, seat, inventory.secrets.seats[seat.id])
    except SeatError as error:
        return SeatResult(seat, "failed", str(error))
    path = folder / _file_name(seat)
    old = _entries(path)
    changed = write_private(path, zipped(pack_name(inventory.handover.seminar, seat), files))
    details: dict[str, object] = {"pack": str(path), "send": ("again" if old else "new") if changed else ""}
    if changed and old:
        new = {name: file.content for name, file in files.items()}
        details["files"] = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return SeatResult(seat, "changed" if changed else "unchanged", details=details)


def _file_name(seat: HandOverSeat) -> str:
    return windows_name(seat.id) + ".zip"


def zipped(folder: str, files: Mapping[str, File]) -> bytes:
    """A zip of these files in one folder. The same files give the same bytes with every zlib, for none is used."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
        top = zipfile.ZipInfo(f"{folder}/", _DATE)
        top.create_system, top.external_attr = _UNIX, (stat.S_IFDIR | 0o700) << 16 | 0x10  # MS-DOS: a directory
        archive.writestr(top, b"")
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _DATE)
            entry.create_system, entry.external_attr = _UNIX, (stat.S_IFREG | file.mode) << 16
            archive.writestr(entry, file.content)
    return raw.getvalue()


def _entries(path: Path) -> dict[str, bytes]:
    """What the pack that lies there holds, without its folder's name; {} where there is none that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            return {name.partition("/")[2]: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile):
        return {}

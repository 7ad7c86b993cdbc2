"""Cards to print and cut, eight to a page: one HTML file, and the PDF that a browser of this computer makes of it."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from provisioning.inventory import Inventory
from provisioning.pack_files import card, fill
from stacks.errors import SeatError, SeminarError
from stacks.folders import make_private, packs_folder, write_private

CARDS_ON_A_PAGE = 8
_PRINT_SECONDS = 120.0
# It lays out every script as the page does, right to left too, and one is on nearly every computer.
_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


@dataclass(frozen=True)
class Handout:
    """What was written. `pdf` is None where no browser is here to print with; `left_out` says who has no card."""

    page: Path
    pdf: Path | None
    left_out: tuple[str, ...]


def write(inventory: Inventory) -> Handout:
    """Write the cards of the inventory's seats beside their packs, 0600. Raises SeminarError where printing fails."""
    cards, left_out = [], []
    for seat in inventory.seats:
        try:
            cards.append(card(inventory.handover.seminar, seat, inventory.secrets.seats[seat.id]))
        except SeatError as error:
            left_out.append(f"{seat.id} has no card: {error}.")
    pages = [cards[first : first + CARDS_ON_A_PAGE] for first in range(0, len(cards), CARDS_ON_A_PAGE)]
    sections = "\n".join(f"<section>\n{''.join(page)}</section>" for page in pages)
    values = {"SEMINAR": html.escape(inventory.handover.seminar), "PAGES": sections}
    folder = make_private(packs_folder(inventory.stack))
    page = folder / "handout.html"
    changed = write_private(page, fill("handout.html", values, str))
    pdf = folder / "handout.pdf"
    browser = find_browser()
    if browser is None:
        pdf.unlink(missing_ok=True)  # one of older cards
        return Handout(page, None, tuple(left_out))
    if changed or not pdf.exists():
        write_private(pdf, _printed(browser, page))
    return Handout(page, pdf, tuple(left_out))


def find_browser() -> str | None:
    """A browser of Chromium's family, or None."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def _printed(browser: str, page: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="seminar-") as name:
        pdf = Path(name) / "handout.pdf"
        words = [browser, "--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        words += ["--disable-component-update", "--disable-sync", f"--user-data-dir={name}/profile"]
        if os.getuid() == 0:
            words.append("--no-sandbox")  # root's browser starts only so, and the page has neither program nor address
        words += ["--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri()]
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PRINT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise SeminarError(
                f"{browser} did not print {page} within {_PRINT_SECONDS:.0f} seconds; print it yourself."
            ) from None
        if not pdf.exists():
            last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
            raise SeminarError(f"{browser} could not print {page} ({last}); open it in a browser and print it.")
        return pdf.read_bytes()

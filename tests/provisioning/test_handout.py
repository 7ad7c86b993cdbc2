"""The cards: what stands on them, eight to a page, and the PDF that a real browser makes of them."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from provisioning import handout
from stacks import folders
from tests.provisioning.test_packs import inventory

needs_browser = pytest.mark.skipif(handout.find_browser() is None, reason="no Chromium, Chrome or Edge is on PATH")


@pytest.fixture(autouse=True)
def project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(folders, "PACKS_FOLDER", tmp_path / "packs")
    return tmp_path


def test_a_card_for_everyone_eight_to_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "find_browser", lambda: None)
    whole = inventory(17)
    made = handout.write(whole)
    assert made.pdf is None
    assert stat.S_IMODE(made.page.stat().st_mode) == 0o600
    pages = made.page.read_text().split("<section>")[1:]
    assert [page.count("<article>") for page in pages] == [8, 8, 1]
    for seat in whole.seats:
        assert f">{whole.secrets.seats[seat.id].password}<" in made.page.read_text()
    assert "192.0.2.7" in pages[0]
    assert "ssh -F ssh_config -N -L localhost:8888:127.0.0.1:8888 ada@192.0.2.7" in pages[0]
    assert "<bdi>Μαρία &lt;b&gt;" in pages[0]


def test_who_has_no_address_has_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "find_browser", lambda: None)
    whole = inventory(2)
    made = handout.write(replace(whole, seats=(replace(whole.seats[0], host=""), whole.seats[1])))
    assert made.left_out[0].startswith("p00 has no card: its machine has no address")
    assert made.page.read_text().count("<article>") == 1


@needs_browser
def test_the_pdf_has_a_page_for_eight_and_a_second_run_keeps_it() -> None:
    made = handout.write(inventory(17))
    assert made.pdf is not None
    assert stat.S_IMODE(made.pdf.stat().st_mode) == 0o600
    content = made.pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == 3
    assert handout.write(inventory(17)).pdf == made.pdf
    assert made.pdf.read_bytes() == content

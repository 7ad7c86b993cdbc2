"""The participant's page in a real browser: the right system, the buttons, the keyboard, contrast, phone and paper.

With SEMINAR_SCREENSHOTS set (`make screenshots`) it also takes the pictures of docs/participants.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from provisioning.pack_files import TEMPLATES, files_of
from stacks.credentials import new_key
from stacks.folders import PROJECT_ROOT
from stacks.outputs import SeatSecrets
from stacks.values import Secret
from tests.provisioning import browser as browsers
from tests.provisioning.machines import seat as a_seat

pytestmark = browsers.needs_chromium
IMAGES = PROJECT_ROOT / "docs" / "images"
PASSWORD = "tibo-rena-kuvi-jado"
AGENTS = {
    "windows": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36",
    "mac": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
    "linux": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "phone": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    secrets = SeatSecrets(password=Secret(PASSWORD), password_hash=Secret("x"), private_key=Secret(new_key("ada")[0]))
    seat = replace(a_seat(22, 443, host="192.0.2.7"), user="participant", name="Ada Lovelace")
    file = tmp_path_factory.mktemp("page") / "README.html"
    file.write_bytes(files_of("spring", seat, secrets)["README.html"].content)
    return file.as_uri()


@pytest.fixture(params=AGENTS)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def browser(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    known = request.getfixturevalue("system") if "system" in request.fixturenames else "linux"
    with browsers.chromium(tmp_path / "profile", agent=AGENTS[known]) as found:
        yield found


def opened(browser: webdriver.Chrome) -> list[str]:
    return [
        str(each.get_attribute("data-system")) for each in browser.find_elements(By.CSS_SELECTOR, "[data-system][open]")
    ]


def test_it_shows_the_right_system(browser: webdriver.Chrome, page: str, system: str) -> None:
    browser.get(page)
    assert opened(browser) == (["windows", "mac", "linux"] if system == "phone" else [system])
    assert browser.find_element(By.ID, "phone").is_displayed() is (system == "phone")
    assert "Hello Ada Lovelace" in browser.find_element(By.TAG_NAME, "h1").text


def test_the_password_by_keyboard_alone(browser: webdriver.Chrome, page: str) -> None:
    browser.get(page)
    body = browser.find_element(By.TAG_NAME, "body")
    field = browser.find_element(By.ID, "password")
    assert PASSWORD not in body.text
    body.send_keys(Keys.TAB)
    assert browser.switch_to.active_element == field
    field.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert field.get_attribute("type") == "text"
    assert browser.switch_to.active_element.get_attribute("aria-pressed") == "true"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    browsers.awaits(browser, "word of it", lambda: "Copied." in browser.find_element(By.ID, "said").text, 10)
    paste = "const area = document.createElement('textarea'); document.body.append(area); area.focus(); return area"
    area = browser.execute_script(paste)
    area.send_keys(Keys.CONTROL, "v")
    assert area.get_attribute("value") == PASSWORD


def test_every_control_has_a_name_of_its_own(browser: webdriver.Chrome, page: str) -> None:
    browser.get(page)
    for each in browser.find_elements(By.TAG_NAME, "details"):
        browser.execute_script("arguments[0].open = true", each)
    names = [each.accessible_name for each in browser.find_elements(By.CSS_SELECTOR, "button, input, summary")]
    assert all(names)
    assert len(set(names)) == len(names)
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: webdriver.Chrome, page: str, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page)
    assert browsers.least_contrast(browser) >= 4.5


def test_on_a_narrow_phone_nothing_is_cut_off(browser: webdriver.Chrome, page: str) -> None:
    metrics = {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page)
    browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 320


def test_on_paper_everything_is_open_and_the_password_is_told(browser: webdriver.Chrome, page: str) -> None:
    browser.get(page)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert opened(browser) == ["windows", "mac", "linux"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    text = browser.find_element(By.TAG_NAME, "body").text
    assert PASSWORD in text
    assert "Double-click putty.reg" in text
    assert not any(each.is_displayed() for each in browser.find_elements(By.TAG_NAME, "button"))


def test_it_works_without_scripts(browser: webdriver.Chrome, page: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(page)
    assert opened(browser) == ["windows", "mac", "linux"]
    assert PASSWORD in browser.find_element(By.TAG_NAME, "body").text


def test_the_pictures_of_the_guide_are_of_this_page(page: str, tmp_path: Path) -> None:
    taken_from = hashlib.sha256((TEMPLATES / "README.html").read_bytes()).hexdigest() + "\n"
    if os.environ.get("SEMINAR_SCREENSHOTS"):
        IMAGES.mkdir(exist_ok=True)
        for system, scheme, width, height in (
            ("windows", "light", 800, 1000),
            ("mac", "dark", 800, 1000),
            ("phone", "light", 390, 800),
        ):
            with browsers.chromium(tmp_path / system, agent=AGENTS[system]) as browser:
                metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": system == "phone"}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                browser.get(page)
                assert browser.save_screenshot(str(IMAGES / f"participant-{system}.png"))
        (IMAGES / "taken-from.txt").write_text(taken_from)
    assert (IMAGES / "taken-from.txt").read_text() == taken_from, "the page has changed; run `make screenshots`"
    guide = (PROJECT_ROOT / "docs" / "participants.md").read_text()
    for picture in IMAGES.glob("participant-*.png"):
        assert f"images/{picture.name}" in guide

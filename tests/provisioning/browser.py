"""A real browser: Debian's Chromium without a window, and what a participant does with a notebook in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

_PROGRAM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_PAGE_SECONDS = 170  # a computer that is busy with much else may starve a browser; pytest's patience is 180
needs_chromium = pytest.mark.skipif(
    not (_PROGRAM and _DRIVER), reason="chromium or chromedriver is not on PATH (Debian: chromium, chromium-driver)"
)

_CONTRAST = """
const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
  .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
const behind = (element) => { const colour = getComputedStyle(element).backgroundColor;
  return /, 0\\)$|transparent/.test(colour) && element.parentElement ? behind(element.parentElement) : colour; };
let least = 99;
for (const element of document.querySelectorAll("body, body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (!element.checkVisibility()) continue;
  const [one, other] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
  least = Math.min(least, (one + 0.05) / (other + 0.05));
}
return least;
"""


@contextmanager
def chromium(folder: Path, *, width: int = 1100, height: int = 900, agent: str = "") -> Iterator[webdriver.Chrome]:
    """A browser with a new profile in `folder`, that asks nobody outside this computer."""
    options = webdriver.ChromeOptions()
    options.binary_location = _PROGRAM or ""
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        f"--user-data-dir={folder}",
        f"--window-size={width},{height}",
        *([f"--user-agent={agent}"] if agent else []),
    ):
        options.add_argument(word)
    service = webdriver.ChromeService(executable_path=_DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_page_load_timeout(_PAGE_SECONDS)
    browser.set_script_timeout(_PAGE_SECONDS)
    try:
        yield browser
    finally:
        browser.quit()


def awaits(browser: webdriver.Chrome, what: str, look: Callable[[], object], seconds: float = 90) -> object:
    """Wait until `look` finds something; returns it. Fails with what the page shows."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except WebDriverException:
            pass  # the page changes while it is looked at
        if time.monotonic() > deadline:
            text = browser.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"{what} did not come at {browser.current_url}:\n{text[-1500:]}")
        time.sleep(0.3)


def log_in(browser: webdriver.Chrome, url: str, password: str, page: str = "tree") -> None:
    """Open the address as the participant does, and type the password."""
    browser.get(f"{url}/{page}")
    field = browser.find_element(By.ID, "password_input")
    field.send_keys(password, Keys.ENTER)
    awaits(browser, "the way in", lambda: "/login" not in browser.current_url)


def run_cell(browser: webdriver.Chrome, code: str) -> None:
    """Type the code into the last cell of the notebook that is open, and run it."""

    typed_into: list[WebElement] = []

    def typed() -> bool:
        cells = browser.find_elements(By.CSS_SELECTOR, ".jp-CodeCell .cm-content")
        shown = [cell for cell in cells if cell.is_displayed()]
        if not shown:
            return False
        shown[-1].click()
        every = ActionChains(browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL)
        every.send_keys(Keys.DELETE, code).perform()
        typed_into[:] = shown[-1:]
        return shown[-1].text.strip() == code  # a notebook that still loads loses what is typed

    def ran() -> bool:
        typed_into[0].click()
        ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        time.sleep(1)
        prompt = "ancestor::div[contains(@class, 'jp-CodeCell')]//div[contains(@class, 'jp-InputPrompt')]"
        return typed_into[0].find_element(By.XPATH, prompt).text.strip() != "[ ]:"  # without a kernel yet, nothing runs

    awaits(browser, "a cell to type into", typed)
    awaits(browser, "the cell's turn", ran)


def printed(browser: webdriver.Chrome) -> str:
    """What all cells have printed."""
    found = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output")
    return "\n".join(each.text for each in found)


def least_contrast(browser: webdriver.Chrome) -> float:
    """Of every text that is seen, the least contrast with what is behind it: WCAG 2.2, 1.4.3 wants 4.5."""
    return float(browser.execute_script(_CONTRAST))


def emulate(browser: webdriver.Chrome, width: int, height: int, *, mobile: bool = False, **media: str) -> None:
    """A window of this size in pixels, and media features such as prefers_color_scheme."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

"""The board's page in a real browser: a class that is made up, and fifty real machines of which one fails.

With SEMINAR_SCREENSHOTS set (`make screenshots`) it also takes the picture of docs/board.md.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from provisioning import board as boards_task
from provisioning.live import Sight
from stacks.folders import PROJECT_ROOT
from stacks.outputs import HandOverSeat
from tests.conftest import FAB, STACK, Project
from tests.provisioning import boards
from tests.provisioning import browser as browsers
from tests.provisioning.boards import Served

pytestmark = [pytest.mark.xdist_group("board"), browsers.needs_chromium]
STUB = PROJECT_ROOT / "tests" / "provisioning" / "stub" / "jupyter"
PAGE = PROJECT_ROOT / "provisioning" / "board"
IMAGES = PROJECT_ROOT / "docs" / "images"
PATIENCE_SECONDS = 150.0
MOST = 40  # of 48 connections: on a computer that is busy with much else, one may break off
WIDE = (1920, 1080)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browsers.chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture
def a_class() -> tuple[list[HandOverSeat], list[Sight]]:
    return boards.a_class()


@pytest.fixture
def board(a_class: tuple[list[HandOverSeat], list[Sight]]) -> Iterator[Served]:
    """Fifty seats in the middle of a lesson: two need help, three want an eye."""
    seats, sights = a_class
    with boards.served(seats) as board:
        board.saw(*sights)
        yield board


@pytest.fixture
def page(board: Served, browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    browsers.emulate(browser, *WIDE)
    browser.get(board.door.way_in)
    awaits(browser, "all tiles", lambda: len(tiles(browser)) == 50)
    yield browser
    browser.get("about:blank")  # before the board ends


def awaits(browser: webdriver.Chrome, what: str, look: Callable[[], object]) -> object:
    return browsers.awaits(browser, what, look, PATIENCE_SECONDS)


def tiles(browser: webdriver.Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, "#seats > li:not([hidden]) > .tile")


def names(browser: webdriver.Chrome) -> list[str]:
    """Who is shown, in their order; in one step, for the tiles may move meanwhile."""
    code = "return [...document.querySelectorAll('#seats > li:not([hidden]) .name')].map((each) => each.textContent)"
    return list(browser.execute_script(code))


def tile(browser: webdriver.Chrome, name: str) -> WebElement:
    return browser.find_element(By.XPATH, f"//*[@id='seats']//button[bdi[text()='{name}']]")


def lights(browser: webdriver.Chrome) -> list[str]:
    shown = browser.find_elements(By.CSS_SELECTOR, "#lights button")
    return [each.text for each in shown if each.is_displayed()]


def told(browser: webdriver.Chrome) -> str:
    return str(browser.find_element(By.ID, "told").get_attribute("textContent"))


def focused(browser: webdriver.Chrome) -> WebElement:
    return browser.switch_to.active_element


def press(browser: webdriver.Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


# What is shown


def test_a_full_class_fits_a_projector(page: webdriver.Chrome) -> None:
    assert lights(page) == ["2 need help", "3 to look at", "45 well"]
    assert page.title == "(2) spring: 2 need help"
    assert page.find_element(By.TAG_NAME, "h1").text == "spring"
    fits = """
    const tiles = [...document.querySelectorAll("#seats .tile")];
    return {
      shown: tiles.filter((each) => { const box = each.getBoundingClientRect();
        return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth; }).length,
      cut: tiles.filter((each) => each.scrollHeight > each.clientHeight + 1).map((each) => each.textContent),
      letters: Math.min(...tiles.map((each) => parseFloat(getComputedStyle(each.firstElementChild).fontSize))),
      scrolls: document.documentElement.scrollHeight > innerHeight,
    };"""
    seen = page.execute_script(fits)
    assert seen["shown"] == 50
    assert seen["cut"] == []
    assert seen["letters"] >= 16
    assert not seen["scrolls"]
    browsers.emulate(page, *WIDE)
    page.find_element(By.CSS_SELECTOR, "#lights [data-light='red']").click()
    assert page.execute_script(fits)["letters"] >= 40  # few are shown larger


@pytest.mark.parametrize("width", [360, 320])
def test_on_a_phone_nothing_is_cut_off(page: webdriver.Chrome, width: int) -> None:
    browsers.emulate(page, width, 740, mobile=True)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    tiles(page)[0].click()
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    box = page.find_element(By.ID, "details").rect
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: webdriver.Chrome, scheme: str) -> None:
    browsers.emulate(page, *WIDE, prefers_color_scheme=scheme)
    assert browsers.least_contrast(page) >= 4.5
    page.find_element(By.CSS_SELECTOR, "#lights [data-light='amber']").click()
    assert browsers.least_contrast(page) >= 4.5
    for light in ("red", "amber", "green"):
        page.find_element(By.CSS_SELECTOR, "#lights [aria-pressed='true']").click()
        page.find_element(By.CSS_SELECTOR, f"#lights [data-light='{light}']").click()
        tiles(page)[0].click()
        page.find_element(By.ID, "restart").click()
        assert browsers.least_contrast(page) >= 4.5
        press(page, Keys.ESCAPE)


def test_no_light_is_told_by_its_colour_alone(page: webdriver.Chrome) -> None:
    seen = set()
    for each in tiles(page):
        icon = each.find_element(By.TAG_NAME, "use").get_attribute("href")
        seen.add((each.get_attribute("data-light"), icon, each.find_element(By.CLASS_NAME, "word").text))
    assert seen == {
        ("red", "#icon-red", "Help:"),
        ("amber", "#icon-amber", "Look:"),
        ("green", "#icon-green", "Well:"),
    }
    drawn = page.execute_script("return [...document.querySelectorAll('symbol')].map((each) => each.innerHTML)")
    assert len(set(drawn)) == 4


def test_what_a_screen_reader_finds(page: webdriver.Chrome) -> None:
    assert page.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
    grid = page.find_element(By.ID, "seats")
    assert (grid.aria_role, grid.accessible_name) == ("list", "Participants")
    assert tile(page, "Emmy Noether").aria_role == "button"
    assert re.fullmatch(r"Emmy Noether Help: Jupyter has died;.*", tile(page, "Emmy Noether").accessible_name)
    each_has_its_own_name(page.find_elements(By.CSS_SELECTOR, "body > header *, #seats *"))
    tile(page, "Emmy Noether").click()
    dialog = page.find_element(By.ID, "details")
    assert (dialog.aria_role, dialog.accessible_name) == ("dialog", "Emmy Noether")
    page.find_element(By.ID, "restart").click()
    each_has_its_own_name(dialog.find_elements(By.CSS_SELECTOR, "*"))
    assert "out of memory" in page.find_element(By.CSS_SELECTOR, "#evidence pre").text
    assert tile(page, "Tony Hoare").accessible_name == ""  # what is behind the dialog is out of reach


def each_has_its_own_name(elements: list[WebElement]) -> None:
    controls = [
        each for each in elements if each.tag_name in ("button", "input", "select", "pre") and each.is_displayed()
    ]
    names = [each.accessible_name for each in controls]
    assert names
    assert all(names)
    assert len(set(names)) == len(names)


def test_markup_from_a_machine_is_text(browser: webdriver.Chrome) -> None:
    seat = replace(boards.a_class()[0][0], name="<img src=x> <b>Ada</b>")
    bad = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    with boards.served([seat]) as board:
        board.saw(Sight(seat, "red", bad, bad, facts={"gpu": bad}))
        browser.get(board.door.way_in)
        awaits(browser, "the tile", lambda: names(browser) == [seat.name])
        tiles(browser)[0].click()
        assert browser.find_element(By.CSS_SELECTOR, "#evidence pre").text == bad
        assert not browser.find_elements(By.CSS_SELECTOR, "img, #seats script, dialog script")
        assert browser.title == "(1) spring: 1 needs help"
        browser.get("about:blank")


# How it is used


def test_by_keyboard_alone(page: webdriver.Chrome) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    stops = []
    while focused(page).get_attribute("class") != "tile":
        stops.append(focused(page).accessible_name)
        press(page, Keys.TAB)
    assert stops == ["2 need help", "3 to look at", "45 well", "Find", "Order"]
    assert focused(page) == tile(page, "Emmy Noether")
    press(page, Keys.ARROW_RIGHT)
    assert focused(page) == tile(page, "Tony Hoare")
    press(page, Keys.END)
    assert focused(page) == tiles(page)[-1]
    press(page, Keys.ARROW_RIGHT, Keys.HOME, Keys.ARROW_DOWN)
    below = tiles(page)[
        int(page.execute_script("return document.getElementById('seats').style.getPropertyValue('--columns')"))
    ]
    assert focused(page) == below
    press(page, Keys.HOME, Keys.ENTER)
    assert page.find_element(By.ID, "details").is_displayed()
    inside = set()
    for _ in range(8):
        inside.add(focused(page).get_attribute("id"))
        assert page.execute_script("return !document.activeElement.closest('#seats')")
        press(page, Keys.TAB)
    assert {"close", "show-log", "restart"} <= inside
    page.find_element(By.ID, "restart").send_keys(Keys.ENTER)
    assert focused(page) == page.find_element(By.ID, "keep")
    press(page, Keys.ENTER)
    assert focused(page) == page.find_element(By.ID, "restart")
    press(page, Keys.ESCAPE)
    assert not page.find_element(By.ID, "details").is_displayed()
    assert focused(page) == tile(page, "Emmy Noether")


def test_filter_and_order(page: webdriver.Chrome) -> None:
    assert names(page)[:6] == [
        "Emmy Noether",
        "Tony Hoare",
        "Muhammad al-Khwarizmi",
        "Hedy Lamarr",
        "Paul Erdős",
        "Ada Lovelace",
    ]
    find = page.find_element(By.ID, "filter")
    find.send_keys("CONNECTED")
    assert names(page) == ["Paul Erdős"]
    find.clear()
    find.send_keys("xyz")
    assert names(page) == []
    assert page.find_element(By.ID, "none").is_displayed()
    find.clear()
    find.send_keys(" ")
    amber = page.find_element(By.CSS_SELECTOR, "#lights [data-light='amber']")
    amber.click()
    assert amber.get_attribute("aria-pressed") == "true"
    assert names(page) == ["Muhammad al-Khwarizmi", "Hedy Lamarr", "Paul Erdős"]
    page.find_element(By.CSS_SELECTOR, "#lights [data-light='red']").click()
    assert len(names(page)) == 5
    order = Select(page.find_element(By.ID, "sort"))
    order.select_by_visible_text("by name")
    assert names(page) == ["Emmy Noether", "Hedy Lamarr", "Muhammad al-Khwarizmi", "Paul Erdős", "Tony Hoare"]
    order.select_by_visible_text("as in the roster")
    assert names(page)[0] == "Emmy Noether"
    assert names(page)[-1] == "Tony Hoare"


def test_a_tile_holds_still_under_the_pointer(
    page: webdriver.Chrome, board: Served, a_class: tuple[list[HandOverSeat], list[Sight]]
) -> None:
    browsers.emulate(page, *WIDE, prefers_reduced_motion="reduce")
    before = names(page)
    page.execute_script(
        "const list = document.getElementById('seats');"
        "window.restless = setInterval(() => list.dispatchEvent(new PointerEvent('pointermove')), 50)"
    )
    awaits(page, "a move", lambda: page.execute_script("return overGrid"))
    last = a_class[0][-1]
    board.saw(Sight(last, "red", "Jupyter has died"))
    awaits(page, "the light", lambda: tile(page, last.name).get_attribute("data-light") == "red")
    assert names(page) == before
    page.execute_script(
        "clearInterval(window.restless);"
        "document.getElementById('seats').dispatchEvent(new PointerEvent('pointerleave'))"
    )
    awaits(page, "the new order", lambda: names(page)[2] == last.name)
    assert page.execute_script("return document.getAnimations().length") == 0


def test_changes_are_told_without_chatter(
    page: webdriver.Chrome, board: Served, a_class: tuple[list[HandOverSeat], list[Sight]]
) -> None:
    awaits(page, "the first word", lambda: told(page) == "2 need help, 3 to look at, 45 well.")
    seats, sights = a_class
    board.saw(Sight(seats[0], "red", "Jupyter has died", facts=sights[0].facts))
    awaits(page, "word of Ada", lambda: told(page) == "Ada Lovelace: Jupyter has died.")
    board.saw(*(replace(sight, facts={**sight.facts, "idle_minutes": 99}) for sight in sights[5:20]))
    board.saw(replace(sights[20], reason="no notebook is open"))
    awaits(page, "the facts", lambda: "no notebook is open" in tile(page, seats[20].name).text)
    board.saw(*(Sight(seat, "red", "the network is away") for seat in seats[20:40]))
    awaits(page, "one word of all", lambda: told(page).startswith("23 need help, "))


def test_lost_and_found_again(page: webdriver.Chrome, board: Served) -> None:
    page.execute_script(
        "window.said = []; new MutationObserver(() => window.said.push(document.getElementById('line').textContent))"
        ".observe(document.getElementById('line'), {childList: true, characterData: true, subtree: true})"
    )
    board.drop()
    lost = "The connection to the board is lost; what you see may be old. Trying again …"
    awaits(page, "word of it", lambda: lost in page.execute_script("return window.said"))
    line = page.find_element(By.ID, "line")
    awaits(page, "the board", lambda: not line.is_displayed())
    assert line.get_attribute("role") == "alert"
    page.delete_all_cookies()  # as if another board had taken the port
    board.drop()
    ended = "This board has ended. Start `fab board` again, and open the address that it prints."
    awaits(page, "the end", lambda: line.text == ended)


def test_a_seat_that_was_not_seen_for_long(page: webdriver.Chrome, board: Served) -> None:
    seat = boards.a_class()[0][0]
    board.saw(Sight(seat, "green", "at work", at=1e9))
    awaits(page, "its age", lambda: re.search(r"last seen \d+ h ago", tile(page, seat.name).text))


# The ways in


def test_the_address_loses_its_token_and_a_second_tab_needs_none(page: webdriver.Chrome, board: Served) -> None:
    assert page.current_url == board.door.address
    assert page.execute_script("return document.referrer") == ""
    assert page.execute_script("return document.cookie") == ""
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(board.door.address)
    awaits(page, "all tiles", lambda: len(tiles(page)) == 50)
    page.close()
    page.switch_to.window(first)


def test_the_file_that_opens_the_browser(board: Served, browser: webdriver.Chrome, tmp_path: Path) -> None:
    file = tmp_path / "open.html"
    file.write_text(boards_task._opening_page(board.door))
    browser.delete_all_cookies()
    browser.get(file.as_uri())
    awaits(browser, "the board", lambda: len(tiles(browser)) == 50)
    assert browser.current_url == board.door.address
    browser.get("about:blank")


def test_the_picture_of_the_guide_is_of_this_page(page: webdriver.Chrome) -> None:
    taken_from = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(PAGE.iterdir()))).hexdigest() + "\n"
    noted = IMAGES / "board-taken-from.txt"
    if os.environ.get("SEMINAR_SCREENSHOTS"):
        browsers.emulate(page, *WIDE, prefers_color_scheme="light")
        smaller = {"x": 0, "y": 0, "width": WIDE[0], "height": WIDE[1], "scale": 0.7}
        how = {"format": "webp", "quality": 80, "clip": smaller}
        taken = page.execute_cdp_cmd("Page.captureScreenshot", how)
        (IMAGES / "board.webp").write_bytes(base64.b64decode(taken["data"]))
        noted.write_text(taken_from)
    assert noted.read_text() == taken_from, "the page has changed; run `make screenshots`"
    assert "images/board.webp" in (PROJECT_ROOT / "docs" / "board.md").read_text()


# Fifty real machines


def a_full_class(project: Project) -> None:
    """Fifty real sshd; two real Jupyters, 07 and 23, and stand-ins for the others."""
    sshd = project.root / "rehearsal" / "sshd.py"
    code, own = sshd.read_text(), 'jupyter=bin_folder / "jupyter"'
    assert own in code
    sshd.write_text(code.replace(own, f"jupyter={str(STUB)!r}"))
    settings = "config:\n  seminar:cloud: local\n  seminar:participants: 50\n"
    (project.root / f"Pulumi.{STACK}.yaml").write_text(settings)
    done = project.up()
    assert done.returncode == 0, done.stderr
    for seat in ("07", "23"):
        (project.machine(seat) / "home/real").write_text(f"{sys.prefix}/bin/jupyter-notebook\n")
    done = project.fab("start-notebook")
    assert done.returncode == 0, done.stdout + done.stderr


def connections(project: Project, seat: str) -> list[int]:
    """The processes of the machine's sshd, one for each connection."""
    listener = psutil.Process(int((project.machine(seat) / "sshd.pid").read_text()))
    return sorted(child.pid for child in listener.children())


@pytest.mark.timeout(900)
def test_one_of_fifty_fails_in_the_middle(project: Project, tmp_path: Path) -> None:
    a_full_class(project)
    with browsers.chromium(tmp_path / "profile") as browser:
        fails_in_the_middle(project, browser)


def fails_in_the_middle(project: Project, browser: webdriver.Chrome) -> None:
    seats = project.root / ".seminar" / STACK / "seats"
    user = project.seats()["07"]["user"]
    ssh = ["ssh", "-N", "-F", str(seats / "07" / "ssh_config"), f"{user}@127.0.0.1"]
    project.started.append(subprocess.Popen(ssh, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True))
    board = project.popen(FAB, "board", "--no-browser", "--every", "2")
    browsers.emulate(browser, *WIDE)
    browser.get(boards.printed_address(board))
    awaits(browser, "a look at all", lambda: lights(browser) == ["0 need help", "49 to look at", "1 well"])
    assert len(tiles(browser)) == 50
    assert "nobody is connected" in tile(browser, "Participant 08").text
    others = [f"{number:02}" for number in range(1, 51) if number not in (7, 23)]
    open_at_first = {seat: connections(project, seat) for seat in others}
    assert sum(len(each) == 1 for each in open_at_first.values()) >= MOST

    own = project.machine("07") / "home/.local/share/seminar"
    os.kill(int((own / "notebook.pid").read_text()), signal.SIGKILL)
    awaits(browser, "the failure", lambda: "Help: Jupyter has died" in tile(browser, "Participant 07").text)
    awaits(browser, "word of it", lambda: told(browser).startswith("Participant 07: "))
    awaits(browser, "the counts", lambda: lights(browser) == ["1 needs help", "49 to look at", "0 well"])
    browser.find_element(By.CSS_SELECTOR, "#lights [data-light='red']").send_keys(Keys.ENTER)
    awaits(browser, "that one alone", lambda: names(browser) == ["Participant 07"])

    tile(browser, "Participant 07").send_keys(Keys.ENTER)
    show_log, restart = (browser.find_element(By.ID, name) for name in ("show-log", "restart"))
    show_log.send_keys(Keys.ENTER)
    log = browser.find_element(By.CSS_SELECTOR, "#log pre")
    awaits(browser, "the log", lambda: "is running at" in log.text)
    assert log.text.splitlines()[-1].strip() == (own / "notebook.log").read_text().splitlines()[-1].strip()
    restart.send_keys(Keys.ENTER)
    press(browser, Keys.TAB, Keys.ENTER)
    job = browser.find_element(By.ID, "job")
    runs = "The notebook runs again, and its participant can log in."
    awaits(browser, "the restart", lambda: job.text == runs)
    state = browser.find_element(By.ID, "details-state")
    awaits(browser, "that it is well", lambda: state.text.startswith("Well:"))
    press(browser, Keys.ESCAPE)
    find = browser.find_element(By.ID, "filter")  # nobody needs help: there is no tile to go back to
    awaits(browser, "the focus", lambda: focused(browser) == find)
    browser.find_element(By.CSS_SELECTOR, "#lights [data-light='red']").click()
    awaits(browser, "the counts", lambda: lights(browser) == ["0 need help", "49 to look at", "1 well"])

    listener = psutil.Process(int((project.machine("23") / "sshd.pid").read_text()))
    for each in (listener, *listener.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a script's short process
            each.kill()
    awaits(browser, "the lost machine", lambda: "Help:" in tile(browser, "Participant 23").text)
    awaits(browser, "its place", lambda: names(browser)[0] == "Participant 23")
    assert len(tiles(browser)) == 50
    assert sum(connections(project, seat) == open_at_first[seat] for seat in others) >= MOST  # they stay open

    browser.get("about:blank")
    board.send_signal(signal.SIGINT)
    said, _ = board.communicate(timeout=PATIENCE_SECONDS)
    assert board.returncode == 0
    assert said.rstrip().endswith("The board is closed.")
    assert "Traceback" not in said
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(connections(project, seat) for seat in others):
        assert time.monotonic() < deadline
        time.sleep(0.1)

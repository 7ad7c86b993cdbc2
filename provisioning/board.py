"""`fab board`: the watch, the server and the browser, from the first word until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import html
import signal
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

from provisioning import board_server
from provisioning.board_seats import Board
from provisioning.inventory import Inventory
from stacks.folders import make_private, packs_folder, write_private

_OPENING_FILE = "open-the-board.html"


def hold(inventory: Inventory, *, port: int | None = None, every_seconds: float, browser: bool = True) -> None:
    """Serve the board of the inventory's seats until Ctrl-C; print its address, and open it.

    `port` None: the first free one of the board's. Raises RequestError where no port is to be had.
    """
    gc.enable()  # a task that ran before in this process has put it off; the board lives for hours
    asyncio.run(_hold(inventory, port, every_seconds, browser=browser))
    print("\nThe board is closed.", flush=True)


async def _hold(inventory: Inventory, port: int | None, every_seconds: float, *, browser: bool) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C then ends the loop by an exception
            loop.add_signal_handler(each, over.set)
    listener = board_server.listen(port)
    door = board_server.Door(listener.getsockname()[1])
    async with Board(inventory, every_seconds=every_seconds) as board:
        server = board_server.serve(board, door, listener)
        print(f"The board: {door.way_in} (Ctrl-C ends)", flush=True)
        print("Whoever has this address can see every seat and restart notebooks: keep it to yourself.", flush=True)
        try:
            with _opened(inventory.stack, door) if browser else contextlib.nullcontext():
                await over.wait()
        finally:
            server.stop()
    await server.close_all_connections()


@contextmanager
def _opened(stack: str, door: board_server.Door) -> Iterator[None]:
    """Open the browser by means of a private file: every user of this computer can read a browser's argument list.

    The file lies beside the packs and not in a hidden or temporary folder, for a browser that is a snap can't read
    those. It is removed when the board closes.
    """
    file = packs_folder(stack) / _OPENING_FILE
    try:
        make_private(file.parent)
        write_private(file, _opening_page(door))
    except OSError as error:
        print(f"The browser was not opened ({error}); open the address yourself.", flush=True)
        yield
        return
    # A browser of the terminal would hold up everything until it is left.
    threading.Thread(target=webbrowser.open, args=(file.as_uri(),), name="browser", daemon=True).start()
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _opening_page(door: board_server.Door) -> str:
    """A form that sends itself; where scripts are off, a button."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Board</title>'
        f'<form method="post" action="{html.escape(door.address)}open">'
        f'<input type="hidden" name="token" value="{html.escape(door.token)}">'
        "<button>Open the board</button></form><script>document.forms[0].submit()</script></html>\n"
    )

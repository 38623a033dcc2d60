"""Signals that end a command: what it has begun is cleaned up before it ends.

SIGTERM and SIGHUP unwind a command as Ctrl-C does. A library that is at work in compiled code does
not let Python see a signal until it is done: after a second it is interrupted as by Ctrl-C, which
Polars heeds, and after ten the process removes its temporary folders and ends as it is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from featurekit.scratch import remove_all_claimed

__all__ = ["Ended", "ended_by_signals"]

NUMBERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_FIRST, _LAST = 1.0, 10.0
"""After so many seconds a signal that Python has not seen yet is pressed."""


class Ended(KeyboardInterrupt):
    """The command was ended by a signal.

    Args:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.name, self.exit_code = signal.Signals(number).name, 128 + number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Ended`, as far as nobody else handles or ignores them.

    Raises:
        Ended: One came.
    """
    alone = threading.current_thread() is threading.main_thread()
    mine = [each for each in NUMBERS if alone and signal.getsignal(each) is signal.SIG_DFL]
    if not mine:
        yield
        return
    seen, pressed, ended = threading.Event(), threading.Event(), threading.Event()
    came: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        seen.set()
        for each in mine:
            signal.signal(each, signal.SIG_IGN)  # One is enough: what follows is cleaning up.
        if not pressed.is_set():  # Else it is interrupted already.
            raise Ended(number)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watch = threading.Thread(target=_press, args=(reading, seen, pressed, ended, came), daemon=True)
    watch.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for each in mine:
        signal.signal(each, handle)
    try:
        yield
    except KeyboardInterrupt as error:
        if came and not isinstance(error, Ended):
            raise Ended(came[0]) from None
        raise
    finally:
        seen.set()
        ended.set()
        signal.set_wakeup_fd(before)
        for each in mine:
            signal.signal(each, signal.SIG_DFL)
        os.close(writing)


def _press(
    reading: int, seen: threading.Event, pressed: threading.Event, ended: threading.Event,
    came: list[int],
) -> None:  # fmt: skip
    """Wait for a signal, and see to it that it ends the process."""
    with open(reading, "rb", buffering=0) as numbers:
        while (number := numbers.read(1)) and number[0] not in NUMBERS:
            continue
    if not number:
        return
    came.append(number[0])
    deaf = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if not seen.wait(_FIRST) and not deaf:
        pressed.set()
        os.kill(os.getpid(), signal.SIGINT)
    # Also where the exception was lost, as in what Python calls when it forgets an object.
    if not ended.wait(_LAST - _FIRST):
        remove_all_claimed(lasting=True)
        os._exit(128 + number[0])

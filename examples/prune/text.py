"""What is printed must not drive the terminal that shows it: names in model files are anybody's text."""

import contextlib
import os
import signal
import sys
import threading
import time


def visible(text):
    """The text with everything that is not printable written as an escape: newlines, colours, right-to-left marks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


def say(text):
    print("\n".join(visible(line) for line in text.split("\n")))


@contextlib.contextmanager
def waiting(what):
    """Shows on a terminal what is waited for, after a second, and for how long already."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def show():
        begin = time.monotonic()
        while not done.wait(1):
            print(f"\r{visible(what)}: {time.monotonic() - begin:.0f} s \x1b[K", end="", file=sys.stderr, flush=True)
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Stopped(BaseException):
    """A signal that ends the program, as an exception: so that what is half written is taken away."""

    def __init__(self, number):
        self.number = number


def stop_cleanly():
    """SIGTERM and SIGHUP raise Stopped. Whoever ignores them already, as nohup does, goes on ignoring them."""
    def stop(number, _):
        signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the cleaning up
        raise Stopped(number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def run(name, main, faults, silent=()):
    """Calls main and ends the program: every fault is one sentence, and one that could not be printed is no success."""
    stop_cleanly()
    try:
        main()
        sys.stdout.flush()
    except faults as fault:
        leave(f"{name}: {visible(fault)}.")
    except MemoryError:
        leave(f"{name}: there is not enough memory for the largest tensor.")
    except KeyboardInterrupt:
        leave(f"{name}: interrupted, nothing was written.")
    except Stopped as stopped:
        print(f"{name}: ended by {signal.Signals(stopped.number).name}, nothing was written.", file=sys.stderr)
        signal.signal(stopped.number, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.number)
    except OSError as error:
        leave(f"{name}: {visible(error.filename or 'the output')} cannot be written: {error.strerror or error}.")


def leave(sentence):
    """Without the interpreter's own attempt to flush a stdout that cannot be written."""
    print(sentence, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        pass
    sys.stderr.flush()
    os._exit(1)

"""How the checks of this folder count. The last line is that of every test here: "N passed, N failed, N skipped"."""

passed = failed = 0


def check(good, message):
    """Counts one check; its value is whether it was good."""
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"not ok: {message}")
    return good


def end(skipped=0):
    """Prints the count; the exit status."""
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0

"""When environments go wrong that are told to from outside, in whatever process they are."""

from pathlib import Path


def is_due(armed: str) -> bool:
    """Says whether trouble is due: always, or, where a file is named, while that is there.

    ``arm`` makes it; if it arms for one time, whoever asks first takes it away.
    """
    if not armed:
        return True
    path = Path(armed)
    if not path.exists():
        return False
    if path.read_text() == "once":
        path.unlink()
    return True


def arm(armed: Path, *, once: bool) -> None:
    """Makes the file that ``is_due`` looks for."""
    armed.write_text("once" if once else "always")

"""Looks at folders that may not be there yet, or not be ours to look into."""

from pathlib import Path

from journeyman.errors import UserError


def nearest_existing(path: Path) -> Path:
    """Returns a path, or what exists of the folders above it; a broken link exists, too.

    Raises:
        UserError: a folder above may not be looked into.
    """
    for each in (path, *path.parents):
        try:
            each.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot be looked at ({error.strerror})") from error
        return each
    return path


def require_access(folder: Path) -> None:
    """Raises ``UserError`` if a folder is there and what is in it cannot be looked at."""
    nearest_existing(folder / "config.yaml")

"""Small JSON files of run folders, read with the suspicion that they were cut off or edited."""

import json
from pathlib import Path
from typing import Any, TypeVar

from journeyman.errors import UserError

_Document = TypeVar("_Document", dict[str, Any], list[Any])


def read_json(path: Path, kind: type[_Document], remedy: str) -> _Document:
    """Returns what a JSON file holds.

    Args:
        path: of the file.
        kind: ``dict`` or ``list``, whichever it must hold.
        remedy: what to do if it is damaged.

    Raises:
        UserError: it cannot be read, is no JSON, or holds something else.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # of the encoding, too
        raise UserError(f"{path}: damaged ({error}); {remedy}") from error
    if not isinstance(document, kind):
        raise UserError(f"{path}: damaged (no {kind.__name__} in it); {remedy}")
    return document

"""Modules that a config names: environments of others, and the user's own."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from journeyman.errors import UserError


def import_named(module: str, *, key: str) -> ModuleType:
    """Imports a module that a config names.

    The working folder is searched too, after everything installed, so that a file there can be
    named as it is.

    Args:
        module: dotted name.
        key: the config key that has it, for the message.

    Raises:
        UserError: if it cannot be imported, with what Python says of it.
    """
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UserError(
            f"{key}={module} cannot be imported: {type(error).__name__}: {error}"
        ) from error

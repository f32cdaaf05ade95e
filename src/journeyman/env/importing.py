"""Modules that a config names: environments of others, and the user's own."""

import difflib
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from journeyman.errors import UserError, in_a_line


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
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        raise UserError(
            f"{key}={module} cannot be imported ({in_a_line(error)})"
            + (_nearest(module) if absent else "")
        ) from error


def _nearest(module: str) -> str:
    """Returns a hint at the module of the same package whose name is most alike, or nothing."""
    package, _, name = module.rpartition(".")
    place = sys.modules.get(package)
    siblings = [found.name for found in pkgutil.iter_modules(getattr(place, "__path__", []))]
    close = difflib.get_close_matches(name, siblings, n=1)
    return f"; did you mean {package}.{close[0]}?" if close else ""

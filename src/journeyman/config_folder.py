"""Where the configs are, and what a command line asks of them; as light as Hydra itself.

``--help`` and tab completion go no further than this: no schema, no NumPy.
"""

import secrets
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from journeyman.errors import UserError

_HERE = Path(__file__).resolve().parent
CONF_DIR = next(path for path in (_HERE / "conf", _HERE.parents[1] / "conf") if path.is_dir())
"""The shipped config groups: inside the package in a wheel, at the top of a checkout."""

CONFIG_NAME = "config"

# Run folders have a resolution of one second in their names; the token keeps two runs started
# within one apart. Cached, so that a sweep and all its jobs see the same one.
OmegaConf.register_new_resolver(
    "journeyman.token", lambda: secrets.token_hex(2), use_cache=True, replace=True
)


def parse_command_line(argv: Sequence[str]) -> Namespace | None:
    """Parses a command line as Hydra will.

    Returns:
        Hydra's arguments, or None where nothing is run (``--help``, ``--cfg`` and so on).

    Raises:
        UserError: for an unknown option.
    """
    from hydra._internal.utils import get_args_parser

    arguments, unknown = get_args_parser().parse_known_args(list(argv))
    if unknown:
        raise UserError([f"{option}: unknown option, see --hydra-help" for option in unknown])
    only_asks = (
        arguments.help,
        arguments.hydra_help,
        arguments.cfg,
        arguments.info,
        arguments.shell_completion,
        arguments.experimental_rerun,
    )
    return None if any(only_asks) else arguments

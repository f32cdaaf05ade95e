"""What a run folder has of how its run was begun: its config, and the words it was asked for in."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from journeyman.checkpoint import write_atomically, write_json
from journeyman.errors import UserError
from journeyman.inputs import with_absolute_paths
from journeyman.run_folder import disk_errors, held, status_of
from journeyman.saved_json import read_json
from journeyman.settings.root import Settings
from journeyman.settings.tracking import hide_passwords_in, without_passwords

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.json"


def save_early(settings: Settings, run_dir: Path, overrides: Sequence[str]) -> None:
    """Saves the config before seconds are spent on imports: a run killed in them can go on.

    Args:
        settings: checked; whether they can be run is known.
        run_dir: absolute run folder.
        overrides: as given on the command line.

    Raises:
        UserError: the folder is another run's.
        TrainingError: it cannot be written to.
    """
    with disk_errors(run_dir), held(run_dir):
        save_record(settings, run_dir, without_passwords(overrides))


def save_record(settings: Settings, run_dir: Path, overrides: Sequence[str] | None) -> None:
    """Saves the config of a new run, and last so: with it the folder is a run's.

    Args:
        settings: the validated configuration.
        run_dir: absolute run folder.
        overrides: without passwords; None: nobody knows.

    Raises:
        UserError: the folder is another run's: two would be mixed up.
    """
    status = status_of(run_dir)
    if status is not None:
        raise UserError(
            f"{run_dir}: holds a run already ({status}); journeyman resume goes on with "
            "one that did not end, and a new one needs a folder of its own"
        )
    hide_passwords_in(run_dir / ".hydra")
    if overrides is not None:
        write_json(run_dir / OVERRIDES_FILE, list(overrides))
    config = with_absolute_paths(settings.model_dump(mode="json"))
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    write_atomically(run_dir / CONFIG_FILE, text.encode())


def saved_overrides(run_dir: Path) -> list[str] | None:
    """Returns the overrides that a run was begun with; None where nobody knows.

    Raises:
        UserError: the file is damaged.
    """
    path = run_dir / OVERRIDES_FILE
    if not path.is_file():
        return None
    words = read_json(path, list, "remove it to go on without the words the run was begun with")
    return [str(word) for word in words]

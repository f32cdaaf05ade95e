"""Which run of which store a run folder belongs to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from journeyman.checkpoint import write_json
from journeyman.errors import UserError

RUN_FILE_NAME = "tracking.json"


@dataclass(frozen=True)
class RunIdentity:
    """The content of ``tracking.json``.

    Attributes:
        tracking_uri: the store, without a password.
        experiment_id: id of the experiment there.
        run_id: id of the job's run there.
    """

    tracking_uri: str
    experiment_id: str
    run_id: str

    def write(self, run_dir: Path) -> None:
        """Writes it into a run folder."""
        write_json(run_dir / RUN_FILE_NAME, asdict(self))

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Returns a run folder's identity, or None where it was tracked in no store.

        Raises:
            UserError: the file is damaged.
        """
        path = run_dir / RUN_FILE_NAME
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}); remove it to start a new run") from error

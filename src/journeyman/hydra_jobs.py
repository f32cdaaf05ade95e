"""What lies between Hydra and a job: its rerun by pickle, and errors that are to be one line."""

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callbacks import PickleJobInfoCallback
from omegaconf import DictConfig, OmegaConf, flag_override

from journeyman.config_folder import PICKLE, RERUN_FLAG
from journeyman.errors import TrainingError, UserError


class PickleJob(PickleJobInfoCallback):
    """Writes ``.hydra/config.pickle``, which Hydra's own ``--experimental-rerun`` asks for.

    Only Hydra reads it, and only when that flag is given: a pickle can hold code. Nothing is
    logged, and what the job returned is not pickled: an error need not be one that can be.
    """

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Writes it before the job begins."""
        if config.hydra.output_subdir is None:
            return
        plain = copy.deepcopy(config)
        with flag_override(plain.hydra, ["readonly", "struct"], False):
            # Types of a launcher's own may be others in its workers, where no pickle takes them.
            for node in ("launcher", "sweeper"):
                plain.hydra[node] = OmegaConf.to_container(config.hydra[node], resolve=False)
        folder = Path(config.hydra.runtime.output_dir) / config.hydra.output_subdir
        unfinished = f".{PICKLE}.tmp"
        self._save_pickle(obj=plain, filename=unfinished, output_dir=folder)
        (folder / unfinished).replace(folder / PICKLE)

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Writes nothing."""


def is_hydras_rerun() -> bool:
    """Says whether Hydra runs a pickled job, of which it tells the job itself nothing."""
    options = (word.partition("=")[0] for word in sys.argv[1:])
    # Hydra takes any beginning of the flag that no other one has.
    return any(len(option) > 2 and RERUN_FLAG.startswith(option) for option in options)


class PastHydra(BaseException):
    """Carries a job's error through Hydra, which would first print every override.

    Attributes:
        error: what ended the job.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


@contextmanager
def past_hydra() -> Iterator[None]:
    """Lets errors that are told in one line pass Hydra; others it is to say all it knows of."""
    try:
        yield
    except (UserError, TrainingError) as error:
        raise PastHydra(error) from error

"""Data as inputs of a run, in MLflow's terms."""

import json
from pathlib import Path
from typing import Any

from journeyman.tracking.operations import LogDataset, RunReference
from journeyman.tracking.protocol import DatasetInfo

DIGEST_LENGTH = 32
"""Characters of a digest that are MLflow's key of a dataset, which has room for 36; the profile
has all of them."""
MAX_NAME_LENGTH = 500
MAX_SOURCE_LENGTH = 60_000
"""MLflow has room for 65535 characters, of the JSON that the source is in."""


def dataset_operation(run: RunReference, data: DatasetInfo) -> LogDataset:
    """Returns what names data as an input of a run, within what MLflow has room for."""
    # MLflow's own kinds of sources, so that `mlflow.data.get_source` understands them.
    source = data.source[:MAX_SOURCE_LENGTH]
    is_file = Path(source).is_absolute()
    return LogDataset(
        run=run,
        name=data.name[:MAX_NAME_LENGTH],
        digest=data.digest[:DIGEST_LENGTH],
        source_type="local" if is_file else "code",
        source=json.dumps({"uri": source} if is_file else {"tags": {"origin": source}}),
        context=data.context,
        profile=json.dumps({**data.profile, "sha256": data.digest}),
    )


def log_dataset(client: Any, operation: LogDataset) -> None:
    """Carries the operation out; a second time changes nothing.

    MLflow knows data of an experiment by name and digest: the first who names them says where
    they come from.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    dataset = Dataset(
        name=operation.name,
        digest=operation.digest,
        source_type=operation.source_type,
        source=operation.source,
        profile=operation.profile,
    )
    tags = [InputTag(MLFLOW_DATASET_CONTEXT, operation.context)]
    client.log_inputs(operation.run.opened_id, datasets=[DatasetInput(dataset, tags)])

"""Policies as logged models of a run, in MLflow's terms."""

import logging
from pathlib import Path
from typing import Any

import yaml

from journeyman.checkpoint import write_atomically
from journeyman.tracking.operations import LogModel

MODEL_FILE = "MLmodel"
_logger = logging.getLogger(__name__)


def log_model(client: Any, experiment_id: str, operation: LogModel) -> None:
    """Stores a folder as a model that the run has put out; a second time changes nothing.

    The folder's ``MLmodel`` is told the ids, so that it is the same model from there, too.
    """
    from mlflow.entities import LoggedModelOutput

    folder, run_id = Path(operation.path), operation.run.opened_id
    if not (folder / MODEL_FILE).is_file():
        _logger.warning("model %s was removed before it was stored", folder)
        return
    model = _begun(client, experiment_id, operation)
    if model is None:
        model = client.create_logged_model(
            experiment_id,
            name=operation.name,
            source_run_id=run_id,
            tags=operation.tags,
            model_type="policy",
        )
    elif model.status.value == "READY":
        return
    document = yaml.safe_load((folder / MODEL_FILE).read_text())
    document |= {"model_id": model.model_id, "model_uuid": model.model_id, "run_id": run_id}
    write_atomically(folder / MODEL_FILE, yaml.safe_dump(document, sort_keys=False).encode())
    client.log_model_artifacts(model.model_id, str(folder))
    outputs = client.get_run(run_id).outputs
    if model.model_id not in {each.model_id for each in (outputs and outputs.model_outputs) or ()}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, operation.step)])
    client.finalize_logged_model(model.model_id, "READY")


def _begun(client: Any, experiment_id: str, operation: LogModel) -> Any:
    """Returns what an attempt before this one left of the model, or None."""
    run_id = operation.run.opened_id
    found = client.search_logged_models(
        [experiment_id],
        filter_string=f"name = '{operation.name}' AND source_run_id = '{run_id}'",
    )
    same = [model for model in found if operation.tags.items() <= model.tags.items()]
    return same[0] if same else None

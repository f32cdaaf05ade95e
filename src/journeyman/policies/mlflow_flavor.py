"""A trained policy as an MLflow model: files that ``mlflow.pyfunc.load_model`` makes a player of.

    model = mlflow.pyfunc.load_model("runs:/<run id>/policy")
    actions = model.predict(observations)

The weights are a safetensors file and the rest is text: nothing is unpickled, nothing in the
files is executed, and no torch is needed. MLflow itself is not imported here: it finds this
module by the name in the ``MLmodel`` file.
"""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from journeyman.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.numpy_actor_critic import NumpyActorCritic, stored_spec
from journeyman.policies.protocol import Observation

WEIGHTS_FILE = "policy.safetensors"
SPEC_FILE = "spec.json"
MODEL_FILE = "MLmodel"
_REQUIRED = ("journeyman", "numpy", "safetensors")
_PARAMS = (
    {"name": "deterministic", "type": "boolean", "default": True, "shape": None},
    {"name": "seed", "type": "long", "default": 0, "shape": None},
)
_DTYPES = {"features": np.float32, "map": np.uint8, "action_mask": np.bool_}


def write_model(checkpoint: Checkpoint, folder: Path) -> dict[str, str]:
    """Writes the policy of a checkpoint as an MLflow model.

    Args:
        checkpoint: of any stage of training; what only goes on training is left out.
        folder: made if need be.

    Returns:
        What the model is known by: ``env_id`` and ``weights_digest``.

    Raises:
        UserError: the checkpoint holds no policy.
        OSError: the folder cannot be written.
    """
    spec, settings = stored_spec(checkpoint)
    arrays = {
        name: array
        for name, array in checkpoint.arrays.items()
        if name.split("/")[0] in ("policy", "normalizer")
    }
    kept = ("spec", "policy_settings", "counters")
    state = {name: checkpoint.state[name] for name in kept if name in checkpoint.state}
    known_by = {"env_id": spec.env_id, "weights_digest": checkpoint.digest("policy")}
    save_checkpoint(Checkpoint(arrays, state), folder / WEIGHTS_FILE)
    description = {"spec": spec.to_json(), "policy": settings.model_dump(mode="json"), **known_by}
    (folder / SPEC_FILE).write_text(json.dumps(description, indent=2) + "\n")
    requirements = "".join(f"{name}=={version(name)}\n" for name in _REQUIRED)
    (folder / "requirements.txt").write_text(requirements)
    document = {
        "artifact_path": "policy",
        "flavors": {
            "python_function": {
                "loader_module": __name__,
                "python_version": platform.python_version(),
            }
        },
        "metadata": known_by,
        "mlflow_version": version("mlflow"),
        # The inputs are left open: they may be a dict of arrays, an array or a data frame.
        "signature": {"inputs": None, "outputs": None, "params": json.dumps(_PARAMS)},
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    # Last: where it is, all of them are.
    (folder / MODEL_FILE).write_text(yaml.safe_dump(document, sort_keys=False))
    return known_by


def _load_pyfunc(path: str) -> "PolicyModel":
    """Returns the player in a folder; called by MLflow.

    Raises:
        UserError: there is none, or it is damaged.
    """
    checkpoint = load_checkpoint(Path(path) / WEIGHTS_FILE)
    return PolicyModel(NumpyActorCritic.from_checkpoint(checkpoint, with_values=False))


class PolicyModel:
    """Answers observations with actions.

    Attributes:
        policy: who plays.
    """

    def __init__(self, policy: NumpyActorCritic) -> None:
        self.policy = policy

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> NDArray[Any]:
        """Chooses an action for each observation.

        Args:
            data: ``features (L, F)`` and, where the policy reads them, ``map (L, C, H, W)`` and
                ``action_mask (L, N)``, by name; or the features alone, as an array (L, F) or as
                a data frame whose columns are named as in ``spec.json``, in any order.
            params: ``deterministic`` (default: true, the most probable action) and ``seed`` of
                the draws otherwise: the same seed draws the same.

        Returns:
            (L,) int64, or (L, D) int64 or float32; continuous ones within their bounds.

        Raises:
            UserError: the observations are not what the policy was made for.
            ValueError: a feature is not finite as a float32.
        """
        params = params or {}
        spec = self.policy.lane_spec
        rng = np.random.Generator(np.random.PCG64(int(params.get("seed", 0))))
        deterministic = bool(params.get("deterministic", True))
        with np.errstate(over="ignore"):  # what becomes infinite is refused like what is
            observation = _observation(data, spec)
        _require_finite(observation["features"], spec)
        step = self.policy.act(observation, rng, deterministic=deterministic)
        if spec.action_kind != "box":
            return step.actions
        low, high = np.array(spec.action_low), np.array(spec.action_high)
        clipped: NDArray[np.float32] = np.clip(step.actions, low, high).astype(np.float32)
        return clipped


def _require_finite(features: NDArray[Any], spec: LaneSpec) -> None:
    """Raises ``ValueError`` with the columns of NaN and infinity, to which any action is answered.

    Only for those who ask from outside: players of environments are not slowed down by it.
    """
    wrong = ~np.isfinite(features)
    if wrong.ndim != 2 or wrong.shape[1] != len(spec.feature_names) or not wrong.any():
        return  # of another shape it is refused for that
    columns = [spec.feature_names[column] for column in np.flatnonzero(wrong.any(axis=0))]
    more = f" and {len(columns) - 10} more" if len(columns) > 10 else ""
    raise ValueError(
        f"observations: {wrong.sum()} of {wrong.size} feature values are not finite, in "
        f"{', '.join(columns[:10])}{more}"
    )


def _observation(data: Any, spec: LaneSpec) -> Observation:
    """Returns observations as a policy expects them, of whatever form they are given in."""
    if isinstance(data, Mapping):
        if "features" not in data:
            raise UserError(f"observations need 'features' (got {sorted(map(str, data))})")
        return {
            name: np.asarray(data[name], dtype) for name, dtype in _DTYPES.items() if name in data
        }
    columns = getattr(data, "columns", None)
    if columns is not None and not set(columns) <= set(range(len(columns))):
        missing = [name for name in spec.feature_names if name not in columns]
        if missing:
            raise UserError(f"the data frame lacks the features {', '.join(missing[:10])}")
        data = data[list(spec.feature_names)]
    features = np.asarray(data, np.float32)
    if features.ndim != 2:
        raise UserError(
            f"observations: expected features of shape (n, {len(spec.feature_names)}), "
            f"got {features.shape}"
        )
    return {"features": features}

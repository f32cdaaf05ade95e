"""Why a stage went as it did: what its policy does in states that the demonstrator was in.

Legend: S states, N outputs of a policy, D components of an action.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.data.trajectory import Demonstrations
from journeyman.env.protocol import LaneSpec
from journeyman.policies.actions import FORBIDDEN, bounded_log_std, output_positions
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.results import BCTrainingResult, PPOTrainingResult, StageDiagnosis

CHUNK = 8192
"""States evaluated at a time: their maps are widened to float32."""


def diagnose(
    policy: NumpyActorCritic,
    prior: NumpyActorCritic | None,
    training: BCTrainingResult | PPOTrainingResult,
    demonstrations: Demonstrations | None,
    held_out: NDArray[np.int64] | None,
) -> StageDiagnosis:
    """Holds a stage's policy against the prior and the demonstrator, and its critic to account.

    Args:
        policy: as the stage left it.
        prior: the policy that imitation left, or None.
        training: the stage's; the value function's error is its last update's.
        demonstrations: of the run, or None.
        held_out: (S,) rows that no stage trained on; None: there are none.
    """
    last = training.last_update if isinstance(training, PPOTrainingResult) else {}
    critic = {"value_rmse": last.get("value_rmse")}
    critic["explained_variance"] = last.get("explained_variance")
    if demonstrations is None or held_out is None:
        return StageDiagnosis(states=0, **critic)
    spec = policy.lane_spec
    outputs = _outputs(policy, demonstrations, held_out)
    mask = demonstrations.action_mask
    mask_SN = None if mask is None else mask[held_out]
    kl = None
    if prior is not None:
        theirs = _outputs(prior, demonstrations, held_out)
        kl_S = kl_divergence(spec, theirs, prior.log_std, outputs, policy.log_std, mask_SN)
        kl = float(kl_S.mean())
    shown, decisions = demonstrations.actions[held_out], demonstrations.decisions()[held_out]
    figures: dict[str, Any]
    if spec.action_kind == "box":
        errors = np.abs(outputs.astype(np.float64) - shown).mean(axis=0).tolist()
        figures = {"action_errors": dict(zip(spec.action_names, errors, strict=True))}
    else:
        answers = most_probable(spec, outputs, mask_SN)
        figures = _agreement(spec, answers[decisions], shown[decisions])
    return StageDiagnosis(states=len(held_out), kl_to_prior=kl, **figures, **critic)


def kl_divergence(
    spec: LaneSpec,
    outputs: NDArray[np.float32],
    log_std: NDArray[np.float32] | None,
    other_outputs: NDArray[np.float32],
    other_log_std: NDArray[np.float32] | None,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Returns (S,) float64, KL(one, other) in nats, in closed form.

    Of choices ``sum p (log p - log q)``, components added up; of normals ``log(t / s) + (s^2 +
    (m - n)^2) / (2 t^2) - 1/2``, with the first's deviation and mean s, m, the other's t, n
    (Kullback 1959, 9.1).

    Args:
        spec: what kind of actions there are.
        outputs: (S, N) unmasked logits, or means, of one policy.
        log_std: (D,) of a box policy, unbounded; else None.
        other_outputs: (S, N) of the other policy.
        other_log_std: (D,) of the other one; else None.
        mask: (S, N), True where allowed, or None.
    """
    if spec.action_kind != "box":
        log_p = _log_probs(spec, outputs, mask)
        log_q = _log_probs(spec, other_outputs, mask)
        return np.asarray((np.exp(log_p) * (log_p - log_q)).sum(axis=1))
    if log_std is None or other_log_std is None:
        raise ValueError("a box action needs log_std")
    one, other = (bounded_log_std(part).astype(np.float64) for part in (log_std, other_log_std))
    moved = np.square(outputs.astype(np.float64) - other_outputs) + np.exp(2.0 * one)
    return np.asarray((other - one + 0.5 * (moved * np.exp(-2.0 * other) - 1.0)).sum(axis=1))


def most_probable(
    spec: LaneSpec, logits: NDArray[np.float32], mask: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Returns (S,), or (S, D) of multi-discrete actions: what the mask allows and is likeliest."""
    log_probs = _log_probs(spec, logits, mask)
    parts = np.split(log_probs, np.cumsum(spec.action_sizes)[:-1], axis=1)
    choices = np.stack([part.argmax(axis=1) for part in parts], axis=1)
    return choices if spec.action_sizes else choices[:, 0]


def _agreement(
    spec: LaneSpec, answers: NDArray[np.int64], shown: NDArray[np.int64]
) -> dict[str, Any]:
    """Returns recall by demonstrated choice, and the share of actions right as a whole."""
    right_SD = (answers == shown).reshape(len(shown), -1)
    positions_SD = output_positions(shown, spec.action_sizes)
    support = np.bincount(positions_SD.ravel(), minlength=len(spec.action_names))
    recalled = np.bincount(positions_SD[right_SD], minlength=len(spec.action_names))
    named = zip(spec.action_names, support.tolist(), recalled.tolist(), strict=True)
    by_action = {name: (count, hits / count) for name, count, hits in named if count}
    return {
        "agreement": float(right_SD.all(axis=1).mean()) if len(shown) else None,
        "agreement_by_action": {name: share for name, (_, share) in by_action.items()},
        "support": {name: count for name, (count, _) in by_action.items()},
    }


def _log_probs(
    spec: LaneSpec, logits: NDArray[np.float32], mask: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Returns (S, N) float64, each component's normalised; masked choices have probability 0."""
    wide = logits.astype(np.float64)
    if mask is not None:
        wide = np.where(mask, wide, wide + np.float64(FORBIDDEN))
    parts = np.split(wide, np.cumsum(spec.action_sizes)[:-1], axis=1)
    return np.concatenate([_normalised(part) for part in parts], axis=1)


def _normalised(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _outputs(
    player: NumpyActorCritic, demonstrations: Demonstrations, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns (S, N) of what the demonstrator saw."""
    mask, grid = demonstrations.action_mask, demonstrations.map
    parts = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        obs: dict[str, NDArray[Any]] = {"features": demonstrations.features[part]}
        if grid is not None:
            obs["map"] = grid[part]
        if mask is not None:
            obs["action_mask"] = mask[part]
        parts.append(player.outputs(obs))
    return np.concatenate(parts)

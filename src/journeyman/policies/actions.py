"""Choosing actions from a policy's outputs, whoever computed them: the players and practice.

Legend: L lanes, N outputs of the policy, D components of an action.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneSpec

Array = NDArray[np.float32]

FORBIDDEN = np.float32(-1e9)
"""Added to the logit of a masked action; its probability is then exactly 0 in float32."""

LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0
"""Bounds of a box policy's log deviation: imitating a demonstrator without chance would shrink
the deviation until no probability ratio of practice stayed within reason."""

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def choose(
    spec: LaneSpec,
    outputs: Array,
    log_std: Array | None,
    mask: NDArray[np.bool_] | None,
    rng: np.random.Generator,
    *,
    deterministic: bool,
) -> tuple[NDArray[Any], Array]:
    """Chooses an action for each lane from the outputs of a policy.

    Chance drawn, unless deterministic: one uniform a lane for a discrete action, one a lane and
    component for a multi-discrete one, one normal a lane and component for a box one.

    Args:
        spec: what kind of actions there are.
        outputs: (L, N) float32: unmasked logits, or the means of a box action.
        log_std: (D,) float32 of the network, of a box action; else None.
        mask: (L, N) bool, True where allowed, or None.
        rng: source of the choice.
        deterministic: take the most probable action, component by component.

    Returns:
        Actions as ``spec.action_kind`` says, box ones not yet clipped to their bounds, and their
        log-probabilities (L,) float32 (log-densities of box ones).
    """
    match spec.action_kind:
        case "discrete":
            return _discrete(outputs, mask, rng, deterministic)
        case "multi_discrete":
            return _multi_discrete(spec.action_sizes, outputs, mask, rng, deterministic)
        case "box":
            if log_std is None:
                raise ValueError("a box action needs log_std")
            return _box(outputs, log_std, rng, deterministic)


def output_positions(actions: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Returns (L, D) int64: which outputs of the policy the chosen actions stand for.

    Args:
        actions: (L,), or (L, D) of a multi-discrete action.
        sizes: choices of each component; empty for a discrete action.
    """
    if not sizes:
        return actions[:, None]
    offsets = np.cumsum(sizes, dtype=np.int64) - np.array(sizes, np.int64)
    return np.asarray(actions + offsets)


def mask_allows(
    mask: NDArray[np.bool_], actions: NDArray[np.int64], sizes: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Returns (L,) bool: whether the mask (L, N) allows every component of the action."""
    positions = output_positions(actions, sizes)
    return np.asarray(np.take_along_axis(mask, positions, axis=1).all(axis=1))


def draw_choices(
    logits: Array, mask: NDArray[np.bool_] | None, uniforms: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], Array]:
    """Draws one of N choices for each lane by inverting its cumulative distribution.

    Args:
        logits: (L, N) float32.
        mask: (L, N) bool, True where allowed, or None.
        uniforms: (L,) float64 in [0, 1), or None for the most probable choice.

    Returns:
        Choices (L,) int64, and their log-probabilities (L,) float32; a choice of probability 0
        is never drawn.
    """
    if mask is not None:
        logits = np.where(mask, logits, logits + FORBIDDEN)
    shifted = logits - logits.max(axis=1, keepdims=True)
    cumulative = np.cumsum(np.exp(shifted), axis=1, dtype=np.float64)
    total = cumulative[:, -1]
    choices: NDArray[np.int64]
    if uniforms is None:
        choices = shifted.argmax(axis=1)
    else:
        # u * total may round up to total, past the last choice of positive probability.
        threshold = np.minimum(uniforms * total, np.nextafter(total, 0.0))
        choices = (cumulative <= threshold[:, None]).sum(axis=1, dtype=np.int64)
    log_probs: Array = shifted[np.arange(len(choices)), choices] - np.log(total, dtype=np.float32)
    return choices, log_probs


def gaussian_log_prob(actions: Array, means: Array, log_std: Array) -> Array:
    """Returns (L,) float32, the log-density of independent normals, summed over components.

    Args:
        actions: (L, D) float32.
        means: (L, D) float32.
        log_std: (D,) float32, within its bounds.
    """
    distance = (actions - means) * np.exp(-log_std)
    constant = log_std.sum() + np.float32(len(log_std) * LOG_SQRT_2PI)
    log_probs: Array = np.float32(-0.5) * np.square(distance).sum(axis=1) - constant
    return log_probs


def bounded_log_std(log_std: Array) -> Array:
    """Returns (D,) float32 within ``LOG_STD_LOW`` and ``LOG_STD_HIGH``."""
    return np.clip(log_std, np.float32(LOG_STD_LOW), np.float32(LOG_STD_HIGH))


def _discrete(
    logits: Array,
    mask: NDArray[np.bool_] | None,
    rng: np.random.Generator,
    deterministic: bool,
) -> tuple[NDArray[np.int64], Array]:
    return draw_choices(logits, mask, None if deterministic else rng.random(len(logits)))


def _multi_discrete(
    sizes: tuple[int, ...],
    logits: Array,
    mask: NDArray[np.bool_] | None,
    rng: np.random.Generator,
    deterministic: bool,
) -> tuple[NDArray[np.int64], Array]:
    actions = np.empty((len(logits), len(sizes)), np.int64)
    total = np.zeros(len(logits), np.float32)
    uniforms = None if deterministic else rng.random(actions.shape)
    start = 0
    for component, size in enumerate(sizes):
        choices = slice(start, start + size)
        actions[:, component], log_probs = draw_choices(
            logits[:, choices],
            None if mask is None else mask[:, choices],
            None if uniforms is None else uniforms[:, component],
        )
        total += log_probs
        start += size
    return actions, total


def _box(
    means: Array, log_std: Array, rng: np.random.Generator, deterministic: bool
) -> tuple[Array, Array]:
    log_std = bounded_log_std(log_std)
    actions = means.copy()
    if not deterministic:
        actions += np.exp(log_std) * rng.standard_normal(means.shape, dtype=np.float32)
    # The density of the action as it is stored, rounded to float32, so that practice finds it.
    return actions, gaussian_log_prob(actions, means, log_std)

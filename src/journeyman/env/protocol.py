"""The one interface that training, capture and evaluation see of any environment.

Legend: L lanes, W worlds, A agents of one world (L = W * A, lane = w * A + a), F features,
N actions, D components of an action, E event kinds, R reward terms.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from journeyman.policies.protocol import Observation, Policy

StepInfo = dict[str, Any]

ActionKind = Literal["discrete", "multi_discrete", "box"]


@dataclass(frozen=True, kw_only=True)
class LaneSpec:
    """What one lane sees and what it can do.

    Attributes:
        env_id: name of the environment, e.g. ``town/neighbourhood``.
        feature_names: F names, in the order of ``obs["features"]``.
        map_channels: C names, in the order of ``obs["map"]``'s first axis; empty: no map.
        map_shape: (C, H, W) of ``obs["map"]``, or None.
        action_names: N names, one for each output of the policy. Discrete: the position is the
            action's id. Multi-discrete: the choices of the first component, then those of the
            second, and so on. Box: one for each component (N = D).
        action_kind: ``discrete``: a lane's action is one id, actions are (L,) int64;
            ``multi_discrete``: one id a component, (L, D) int64; ``box``: (L, D) float32.
        action_sizes: choices of each component of a multi-discrete action, D numbers that sum
            to N; empty otherwise.
        action_low: least value of each component of a box action, D numbers, possibly -inf;
            empty otherwise.
        action_high: greatest value, likewise.
        map_scale: what the network multiplies ``obs["map"]`` by; 1/255 for photographs.
        has_action_mask: whether ``obs["action_mask"] (L, N) bool`` is present.
        forced_actions: ids that are open even where a lane has no real choice (the town: wait
            and release). A step is a *decision* where the mask allows any other.
    """

    env_id: str
    feature_names: tuple[str, ...]
    action_names: tuple[str, ...]
    map_channels: tuple[str, ...] = ()
    map_shape: tuple[int, int, int] | None = None
    has_action_mask: bool = False
    forced_actions: tuple[int, ...] = ()
    action_kind: ActionKind = "discrete"
    action_sizes: tuple[int, ...] = ()
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    map_scale: float = 1.0

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one lane's action: ``()`` for a discrete one, else ``(D,)``."""
        match self.action_kind:
            case "discrete":
                return ()
            case "multi_discrete":
                return (len(self.action_sizes),)
            case "box":
                return (len(self.action_names),)

    @property
    def action_dtype(self) -> "np.dtype[Any]":
        """``float32`` for box actions, else ``int64``."""
        return np.dtype(np.float32 if self.action_kind == "box" else np.int64)

    def mismatches(self, other: "LaneSpec") -> list[str]:
        """Says, a sentence each, where ``other`` differs in what a policy depends on."""
        problems = []
        if self.feature_names != other.feature_names:
            missing = [n for n in self.feature_names if n not in other.feature_names]
            extra = [n for n in other.feature_names if n not in self.feature_names]
            detail = (
                f"missing {missing[:5]}, unexpected {extra[:5]}"
                if missing or extra
                else "the same names in another order"
            )
            problems.append(
                f"features: expected {len(self.feature_names)}, "
                f"got {len(other.feature_names)} ({detail})"
            )
        if self.map_shape != other.map_shape or self.map_channels != other.map_channels:
            problems.append(
                f"map: expected {self.map_shape} {list(self.map_channels)}, "
                f"got {other.map_shape} {list(other.map_channels)}"
            )
        if self.action_names != other.action_names:
            problems.append(
                f"actions: expected {list(self.action_names)}, got {list(other.action_names)}"
            )
        mine = (self.action_kind, self.action_sizes, self.action_low, self.action_high)
        theirs = (other.action_kind, other.action_sizes, other.action_low, other.action_high)
        if mine != theirs:
            problems.append(
                f"action space: expected {_described(*mine)}, got {_described(*theirs)}"
            )
        return problems

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as JSON-able values; ``from_json`` is its inverse.

        Infinite bounds become strings, which JSON has no numbers for.
        """
        document = asdict(self)
        for bound in ("action_low", "action_high"):
            document[bound] = [v if math.isfinite(v) else str(v) for v in document[bound]]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LaneSpec":
        """Builds a spec from what ``to_json`` returned."""
        shape = document["map_shape"]
        return cls(
            env_id=document["env_id"],
            feature_names=tuple(document["feature_names"]),
            action_names=tuple(document["action_names"]),
            map_channels=tuple(document["map_channels"]),
            map_shape=None if shape is None else (shape[0], shape[1], shape[2]),
            has_action_mask=document["has_action_mask"],
            forced_actions=tuple(document["forced_actions"]),
            action_kind=document.get("action_kind", "discrete"),
            action_sizes=tuple(document.get("action_sizes", ())),
            action_low=_floats(document.get("action_low", ())),
            action_high=_floats(document.get("action_high", ())),
            map_scale=document.get("map_scale", 1.0),
        )

    def digest(self) -> str:
        """Returns a SHA-256 of the spec."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def _floats(values: Sequence[float | str]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _described(
    kind: ActionKind, sizes: tuple[int, ...], low: tuple[float, ...], high: tuple[float, ...]
) -> str:
    """Returns an action space in words.

    >>> _described("box", (), (-1.0,), (1.0,))
    'box [-1.0] to [1.0]'
    """
    match kind:
        case "discrete":
            return "discrete"
        case "multi_discrete":
            return f"multi_discrete {list(sizes)}"
        case "box":
            return f"box {list(low)} to {list(high)}"


class LaneEnv(Protocol):
    """A Gymnasium vector environment with SAME_STEP autoreset, seen as lanes.

    ``reset`` and ``step`` hand over arrays that stay valid until the *second* next ``step``;
    whoever keeps them longer copies them.

    Observations are dicts: ``features (L, F) float32`` always, ``map (L, C, H, W) uint8`` and
    ``action_mask (L, N) bool`` where the spec has them.

    The info of a ``step`` holds:
        ``final_obs``: a dict like an observation; its rows are valid where ``_final_obs``.
        ``_final_obs``: (L,) bool, lanes that terminated or were truncated in this step.
        ``world_over``: (W,) bool, worlds whose episode ended in this step.
        ``events``: (L, E) float32, what happened to each lane in this step.
        ``reward_terms``: (L, R) float32, the parts of the reward of this step.
        ``idle``: (L,) bool, lanes whose step was none: the action was ignored and the reward is
            0. It is there only if any lane was: one whose agent is gone until its world begins
            anew, or one that spent the step on beginning anew (Gymnasium's NEXT_STEP
            autoreset). Nobody learns from such a step, and it counts nowhere.

    Box actions may lie outside their bounds; the environment clips them.

    An environment that can draw itself also has ``render_world(world) -> (h, w, 3) uint8``.
    """

    num_envs: int
    num_worlds: int
    lane_spec: LaneSpec
    event_names: tuple[str, ...]
    reward_term_names: tuple[str, ...]

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, StepInfo]:
        """Starts every world anew.

        Args:
            seed: an int (world w derives its own stream from it and w alone, whatever W is),
                W ints (one a world), or None: the worlds go on with the streams they have.
            options: unused by the town.
        """
        ...

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        """Advances all lanes; returns obs, rewards, terminated, truncated (each (L,)), info.

        Args:
            actions: (L,) or (L, D), as the spec's ``action_kind`` says.

        Raises:
            TrainingError: the environment failed or broke its own rules, naming it, the lane
                and the step.
        """
        ...

    def set_social_stage(self, stage: str) -> None:
        """Switches the social rewards from the next step on (``OFF``, ``C1``, ``C2``, ``C3``).

        Raises:
            UserError: for any but ``OFF`` where the environment has no social rewards.
        """
        ...

    def demonstrator(self) -> Policy:
        """Returns the environment's own demonstrator.

        Raises:
            UserError: if the environment has none.
        """
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns copies of all arrays the environment is made of, generators included."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Observation:
        """Puts a state back and returns its current observation, bit for bit as it was.

        A state is put back only into an environment of the same settings and number of worlds.
        """
        ...

    def close(self) -> None:
        """Frees what the environment holds."""
        ...

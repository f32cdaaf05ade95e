"""The one interface that training, capture and evaluation see of any environment.

Legend: L lanes, W worlds, A agents of one world (L = W * A, lane = w * A + a), F features,
N actions, E event kinds, R reward terms.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from journeyman.policies.protocol import Observation, Policy

StepInfo = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LaneSpec:
    """What one lane sees and what it can do.

    Attributes:
        env_id: name of the environment, e.g. ``town/neighbourhood``.
        feature_names: F names, in the order of ``obs["features"]``.
        map_channels: C names, in the order of ``obs["map"]``'s first axis; empty: no map.
        map_shape: (C, H, W) of ``obs["map"]``, or None.
        action_names: N names; the position is the action's id.
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
        return problems

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as JSON-able values; ``from_json`` is its inverse."""
        return asdict(self)

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
        )

    def digest(self) -> str:
        """Returns a SHA-256 of the spec."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


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
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        """Advances all lanes; returns obs, rewards, terminated, truncated (each (L,)), info."""
        ...

    def set_social_stage(self, stage: str) -> None:
        """Switches the social rewards from the next step on (``OFF``, ``C1``, ``C2``, ``C3``)."""
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
        """Puts a state back and returns its current observation, bit for bit as it was."""
        ...

    def close(self) -> None:
        """Frees what the environment holds."""
        ...

"""Rules that play Gymnasium's classic control well: demonstrators for quick examples.

None of them learns or draws; each is a formula of what it sees. The returns in the docstrings
are means over the episodes of ``reset(seed=0)`` to ``reset(seed=99)``.

Legend: L lanes, F features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.protocol import Observation, PolicyStep, unknown

Columns = NDArray[np.float32]


class _Rule:
    """Chooses by a formula; refuses lanes of other shapes than its own.

    Attributes:
        label: name in results.
    """

    label: str
    features: int
    actions: int
    kinds: tuple[str, ...] = ("discrete",)

    def __init__(self, spec: LaneSpec) -> None:
        found = (len(spec.feature_names), len(spec.action_names))
        fits = found == (self.features, self.actions) and spec.action_kind in self.kinds
        if not fits or spec.map_shape is not None:
            raise UserError(
                f"env.demonstrator: {self.label} plays {self.features} features and "
                f"{self.actions} {' or '.join(self.kinds)} actions, {spec.env_id} has {found[0]} "
                f"and {found[1]} {spec.action_kind}"
            )

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses an action for each lane; draws nothing."""
        actions = self.choose(obs["features"].T)
        return PolicyStep(actions, unknown(len(actions)), unknown(len(actions)))

    def choose(self, seen: Columns) -> NDArray[Any]:
        """Returns the actions for (F, L) features."""
        raise NotImplementedError


class CartPoleBalancer(_Rule):
    """``CartPole-v1``: pushes towards where the pole falls and the cart strays; returns 500."""

    label, features, actions = "cartpole", 4, 2

    def choose(self, seen: Columns) -> NDArray[Any]:
        """Returns (L,) int64: 1, to the right, where the weighted sum of errors is positive."""
        position, velocity, angle, turning = seen
        lean = 0.1 * position + 0.3 * velocity + 3.0 * angle + turning
        actions: NDArray[Any] = (lean > 0.0).astype(np.int64)
        return actions


class MountainCarPusher(_Rule):
    """``MountainCar-v0`` and its continuous kin: pushes where it rolls; returns -120 and 89."""

    label, features, actions = "mountain_car", 2, 3
    kinds = ("discrete", "box")

    def __init__(self, spec: LaneSpec) -> None:
        self._continuous = spec.action_kind == "box"
        if self._continuous:
            self.actions = 1
        super().__init__(spec)

    def choose(self, seen: Columns) -> NDArray[Any]:
        """Returns (L,) int64, 0 left or 2 right, or (L, 1) float32, -1 or 1."""
        right = seen[1] >= 0.0
        if self._continuous:
            return np.where(right, 1.0, -1.0).astype(np.float32)[:, np.newaxis]
        return np.where(right, 2, 0).astype(np.int64)


class AcrobotSwinger(_Rule):
    """``Acrobot-v1``: bends against the upper link's turning, which pumps; returns -85."""

    label, features, actions = "acrobot", 6, 3

    def choose(self, seen: Columns) -> NDArray[Any]:
        """Returns (L,) int64: torque 1 (id 2) where the upper link turns back, else -1 (id 0)."""
        return np.where(seen[4] < 0.0, 2, 0).astype(np.int64)


class PendulumSwinger(_Rule):
    """``Pendulum-v1``: pumps energy until it can balance; returns -142.

    Energy pumping after Astrom and Furuta (2000), "Swinging up a pendulum by energy control":
    the torque is against the product of the energy's error and the angular velocity.
    """

    label, features, actions = "pendulum", 3, 1
    kinds = ("box",)

    def choose(self, seen: Columns) -> NDArray[Any]:
        """Returns (L, 1) float32 torques in [-2, 2]."""
        cosine, sine, turning = seen
        # A rod of mass 1 and length 1 under g = 10: inertia 1/3, weight's lever 5.
        energy = turning**2 / 6.0 + 5.0 * (cosine - 1.0)
        pump = np.where(np.abs(turning) < 1e-3, 2.0, -energy * turning)
        balance = -10.0 * np.arctan2(sine, cosine) - 2.0 * turning
        torque = np.where(cosine > 0.8, balance, pump)
        return np.clip(torque, -2.0, 2.0).astype(np.float32)[:, np.newaxis]

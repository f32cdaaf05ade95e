"""The trained policy, played without torch from the same arrays.

Legend: L lanes, F features, N outputs, H hidden units, C x h x w the map.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.actions import choose
from journeyman.policies.protocol import Observation, PolicyStep, unknown
from journeyman.settings.policy import PolicySettings

Array = NDArray[np.float32]

WHITENING_CLIP = 10.0
"""Whitened features are kept within this many deviations."""

VARIANCE_FLOOR = 1e-8
"""Added to variances, so that a feature that never changes stays finite."""


class Whitening:
    """Subtracts a mean and divides by a deviation; the identity where there are no statistics.

    Attributes:
        mean: (F,) float32.
        scale: (F,) float32, one over the deviation.
    """

    def __init__(self, mean: Array, scale: Array) -> None:
        self.mean, self.scale = mean, scale

    @classmethod
    def from_moments(cls, count: float, mean: NDArray[Any], squares: NDArray[Any]) -> "Whitening":
        """Builds it from running statistics.

        Args:
            count: samples seen.
            mean: (F,) float64.
            squares: (F,) float64, sum of squared deviations from the mean.
        """
        deviation = np.sqrt(squares / max(count, 1.0) + VARIANCE_FLOOR)
        return cls(mean.astype(np.float32), (1.0 / deviation).astype(np.float32))

    @classmethod
    def from_part(cls, part: Mapping[str, NDArray[Any]]) -> "Whitening | None":
        """Builds it from a checkpoint's ``normalizer`` arrays; None if they have no features."""
        if "feature_count" not in part:
            return None
        count = float(part["feature_count"][0])
        return cls.from_moments(count, part["feature_mean"], part["feature_squares"])

    def __call__(self, features: Array) -> Array:
        """Returns whitened features, float32, same shape, within ``WHITENING_CLIP``."""
        whitened = (features - self.mean) * self.scale
        np.clip(whitened, -WHITENING_CLIP, WHITENING_CLIP, out=whitened)
        return whitened


def stored_spec(checkpoint: Checkpoint) -> tuple[LaneSpec, PolicySettings]:
    """Returns what a checkpoint's policy sees and does, and how its network is built.

    Raises:
        UserError: if the checkpoint holds no policy.
    """
    missing = [key for key in ("spec", "policy_settings") if key not in checkpoint.state]
    if missing or not checkpoint.part("policy"):
        raise UserError("the checkpoint holds no policy; give one that bc, ppo or anneal wrote")
    spec = LaneSpec.from_json(checkpoint.state["spec"])
    return spec, PolicySettings.model_validate(checkpoint.state["policy_settings"])


def check_observation(obs: Observation, spec: LaneSpec, *, needs_map: bool) -> None:
    """Compares an observation's shapes with what the policy was built for.

    Raises:
        UserError: naming the part that differs, with both shapes.
    """
    lanes = len(obs["features"])
    expected: dict[str, tuple[int, ...]] = {"features": (lanes, len(spec.feature_names))}
    if needs_map and spec.map_shape is not None:
        expected["map"] = (lanes, *spec.map_shape)
    if spec.has_action_mask:
        expected["action_mask"] = (lanes, len(spec.action_names))
    for name, shape in expected.items():
        actual = obs[name].shape if name in obs else None
        if actual != shape:
            raise UserError(f"observation {name}: the policy expects shape {shape}, got {actual}")


class NumpyActorCritic:
    """Satisfies ``policies.protocol.Policy``; outputs equal the torch network's within 1e-6.

    Attributes:
        label: name in results.
        lane_spec: what the policy sees and can do.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[Any]],
        spec: LaneSpec,
        settings: PolicySettings,
        *,
        label: str,
        whitening: Whitening | None = None,
        with_values: bool = True,
    ) -> None:
        self._with_values = with_values
        self.label, self.lane_spec = label, spec
        self._weights = dict(weights)
        self._settings = settings
        self._whitening = whitening
        self._needs_map = spec.map_shape is not None and settings.map_encoder != "none"

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, label: str = "policy", *, with_values: bool = True
    ) -> "NumpyActorCritic":
        """Builds the player of a checkpoint's policy, feature statistics included and frozen.

        Args:
            checkpoint: of any stage of training.
            label: name in results.
            with_values: also estimate values when acting; off: NaN, and half the work.

        Raises:
            UserError: if the checkpoint holds no policy.
        """
        spec, settings = stored_spec(checkpoint)
        whitening = Whitening.from_part(checkpoint.part("normalizer"))
        weights = checkpoint.part("policy")
        return cls(
            weights, spec, settings, label=label, whitening=whitening, with_values=with_values
        )

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses an action for each lane, by ``policies.actions.choose``."""
        if self._with_values:
            outputs, values = self.evaluate(obs)
        else:
            outputs, values = self._outputs(obs)[0], unknown(len(obs["features"]))
        mask = obs["action_mask"] if self.lane_spec.has_action_mask else None
        actions, log_probs = choose(
            self.lane_spec, outputs, self.log_std, mask, rng, deterministic=deterministic
        )
        return PolicyStep(actions, log_probs, values)

    @property
    def log_std(self) -> Array | None:
        """``log_std (D,)`` of box actions, unbounded; None otherwise."""
        return self._weights.get("log_std")

    def outputs(self, obs: Observation) -> Array:
        """Returns what ``evaluate`` does without the values, at half the work."""
        return self._outputs(obs)[0]

    def evaluate(self, obs: Observation) -> tuple[Array, Array]:
        """Returns the outputs (L, N) and values (L,), float32.

        The outputs are unmasked logits, or the means of a box action.

        Raises:
            UserError: if the observation has other shapes than the policy was built for.
        """
        outputs, features, actor = self._outputs(obs)
        critic = actor if self._settings.share_trunk else self._body("critic", features, obs)
        return outputs, self._linear("value_head", critic)[:, 0]

    def _outputs(self, obs: Observation) -> tuple[Array, Array, Array]:
        """Returns the outputs, the features as the network sees them, and the actor's body."""
        check_observation(obs, self.lane_spec, needs_map=self._needs_map)
        features = obs["features"]
        if self._whitening is not None:
            features = self._whitening(features)
        actor = self._body("actor", features, obs)
        return self._linear("policy_head", actor), features, actor

    def _linear(self, name: str, inputs: Array) -> Array:
        product: Array = inputs @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product

    def _activate(self, inputs: Array) -> Array:
        if self._settings.activation == "tanh":
            return np.tanh(inputs, out=inputs)
        return np.maximum(inputs, np.float32(0.0), out=inputs)

    def _body(self, name: str, features: Array, obs: Observation) -> Array:
        hidden = features
        if self._needs_map:
            hidden = np.concatenate([features, self._encode_map(name, obs["map"])], axis=1)
        for layer in range(len(self._settings.hidden_sizes)):
            hidden = self._activate(self._linear(f"{name}.layers.{layer}", hidden))
        return hidden

    def _encode_map(self, name: str, raw_map: NDArray[np.uint8]) -> Array:
        scale = np.float32(self.lane_spec.map_scale)
        grid = raw_map.astype(np.float32)
        if scale != 1.0:
            grid *= scale
        if self._settings.map_encoder == "conv":
            grid = self._convolve(f"{name}.map_encoder.near", grid, stride=1)
            grid = self._convolve(f"{name}.map_encoder.far", grid, stride=2)
        return self._activate(
            self._linear(f"{name}.map_encoder.project", grid.reshape(len(grid), -1))
        )

    def _convolve(self, name: str, grid: Array, *, stride: int) -> Array:
        """A 3 x 3 convolution with one cell of zero padding, then the activation."""
        padded = np.pad(grid, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        windows = windows[:, :, ::stride, ::stride]
        kernel = self._weights[f"{name}.weight"]
        product = np.tensordot(windows, kernel, axes=((1, 4, 5), (1, 2, 3)))
        product += self._weights[f"{name}.bias"]
        return self._activate(np.ascontiguousarray(product.transpose(0, 3, 1, 2)))

"""Environments that are vectorised by their own code (Gymnasium's ``vector_entry_point``).

All lanes of such an environment draw from one generator: what a lane plays depends on its seed
*and* on the number of lanes. Its state is that of its attributes: arrays, numbers and the
generator.

Legend: L lanes.
"""

import json
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from journeyman.env.action_spaces import SpaceViolationError
from journeyman.env.lane import Frame, broken, check_seen
from journeyman.env.making import env_maker, quiet_gymnasium, registered_spec
from journeyman.env.protocol import LaneSpec
from journeyman.env.spaces import Arrays, ObservationLayout
from journeyman.errors import NotFiniteError, TrainingError, UserError, in_a_line
from journeyman.settings.external_env import GymnasiumSettings

Native = VectorEnv[Any, Any, Any]

_FIXED = (str, spaces.Space, EnvSpec, AutoresetMode, dict, tuple, type(None))
"""Kinds of attributes that do not change as an environment is played."""


def native_problem(settings: GymnasiumSettings, layout: ObservationLayout) -> str | None:
    """Says why an environment's own vectorised code cannot be used, or None: it can."""
    spec = registered_spec(settings.id)
    if spec.vector_entry_point is None:
        return "it is registered without a vector_entry_point"
    if settings.wrappers or spec.additional_wrappers:
        return "wrappers are put round single environments only"
    if layout.mask_from == "info":
        return "its action mask is in the info"
    env = make_native(settings, 2)
    try:
        if not isinstance(env.metadata.get("autoreset_mode"), AutoresetMode):
            return "it does not say its autoreset_mode"
        single = env_maker(settings)()
        same = (
            single.observation_space == env.single_observation_space
            and single.action_space == env.single_action_space
        )
        single.close()
        if not same:
            return "its spaces are not those of the single environment"
        env.reset(seed=0)
        return _unsaved(env)
    finally:
        env.close()


def make_native(settings: GymnasiumSettings, lanes: int) -> Native:
    """Builds the vectorised environment.

    Raises:
        UserError: if it cannot be built.
    """
    kwargs: dict[str, Any] = dict(settings.kwargs or {})
    if settings.max_episode_steps is not None:
        kwargs["max_episode_steps"] = settings.max_episode_steps
    try:
        with quiet_gymnasium():
            return gymnasium.make_vec(
                registered_spec(settings.id), lanes, "vector_entry_point", **kwargs
            )
    except Exception as error:
        raise UserError(
            f"env.id={settings.id}: its vector_entry_point cannot be built ({in_a_line(error)})"
        ) from error


class NativeLanes:
    """Lanes of an environment that is vectorised by its own code.

    Where it begins lanes anew in the step after their end (NEXT_STEP), that step is idle; where
    it leaves that to its caller (DISABLED), they begin anew in the step that ends them.

    Args:
        env: the environment.
        spec: of a lane.
        layout: of observations.
    """

    def __init__(self, env: Native, spec: LaneSpec, layout: ObservationLayout) -> None:
        self._env, self._spec, self._layout = env, spec, layout
        self._env_id = spec.env_id
        self._mode = env.metadata["autoreset_mode"]
        self._ended_L = np.zeros(env.num_envs, np.bool_)
        self._steps_L = np.zeros(env.num_envs, np.int64)
        self._episodes_L = np.zeros(env.num_envs, np.int64)

    def begin(self, seed: int | None, obs: Arrays) -> None:
        """Begins all lanes anew."""
        try:
            seen, _ = self._env.reset(seed=seed)
        except Exception as error:
            raise self._failed("reset", error) from error
        self._ended_L[:], self._steps_L[:] = False, 0
        self._episodes_L[:] = self._episodes_L + 1 if seed is None else 0
        self._write(obs, seen)

    def step(self, prepared_L: NDArray[Any], frame: Frame) -> None:
        """Plays a step; ``prepared_L`` are actions as the environment takes them."""
        try:
            seen, rewards, terminated, truncated, info = self._env.step(prepared_L)
        except Exception as error:
            raise self._failed("step", error) from error
        next_step = self._mode == AutoresetMode.NEXT_STEP
        frame.idle[:] = self._ended_L if next_step else False
        frame.rewards[:], frame.terminated[:], frame.truncated[:] = rewards, terminated, truncated
        self._steps_L += ~frame.idle
        finite_L = np.isfinite(frame.rewards)
        if not finite_L.all():
            lane = int(np.argmin(finite_L))
            what = f"reward is {frame.rewards[lane]}"
            raise broken(self._env_id, lane, *self.position(lane), what, kind=NotFiniteError)
        ended_L = frame.terminated | frame.truncated
        if ended_L.any():
            seen = self._end(seen, ended_L, info, frame)
        begun_L = frame.idle if next_step else ended_L
        self._steps_L[begun_L] = 0
        self._episodes_L += begun_L
        self._ended_L = ended_L
        self._write(frame.obs, seen)
        check_seen(frame.obs, self._spec, self.position)

    def _end(
        self, seen: Any, ended_L: NDArray[np.bool_], info: Mapping[str, Any], frame: Frame
    ) -> Any:
        """Writes the last observations of lanes that ended; returns what they see now."""
        if self._mode == AutoresetMode.SAME_STEP:
            for lane in np.flatnonzero(ended_L):
                self._layout.write(frame.final, int(lane), info["final_obs"][lane], {})
        else:
            self._write(frame.final, seen)
        check_seen(frame.final, self._spec, self.position, last=True)
        if self._mode == AutoresetMode.DISABLED:
            try:
                seen, _ = self._env.reset(options={"reset_mask": ended_L.copy()})
            except Exception as error:
                raise self._failed("reset", error) from error
        return seen

    def position(self, lane: int) -> tuple[int, int]:
        """Returns a lane's episode and the steps made in it."""
        return int(self._episodes_L[lane]), int(self._steps_L[lane])

    def state(self, obs: Arrays) -> Arrays:
        """Returns the environment's attributes; ``obs`` is what the lanes see."""
        found = {f"obs.{name}": array.copy() for name, array in obs.items()}
        found |= {f"env.{name}": array for name, array in _saved(self._env).items()}
        counters = {"ended": self._ended_L, "steps": self._steps_L, "episodes": self._episodes_L}
        return found | {name: array.copy() for name, array in counters.items()}

    def restore(self, state: Mapping[str, NDArray[Any]], obs: Arrays) -> None:
        """Puts a state back."""
        self._env.reset(seed=0)  # sets up what the first reset sets up
        _put_back(self._env, state)
        for name, array in obs.items():
            np.copyto(array, state[f"obs.{name}"])
        self._ended_L = np.array(state["ended"], np.bool_)
        self._steps_L = np.array(state["steps"], np.int64)
        self._episodes_L = np.array(state["episodes"], np.int64)

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def _write(self, out: Arrays, seen: Any) -> None:
        try:
            self._layout.write_batch(out, seen)
        except SpaceViolationError as error:
            lane = error.lane or 0
            raise broken(
                self._env_id, lane, *self.position(lane), f"observation: {error}"
            ) from error

    def _failed(self, where: str, error: Exception) -> TrainingError:
        lanes, step = len(self._steps_L), int(self._steps_L.max())
        return TrainingError(
            f"{self._env_id}: the vectorised environment of lanes 0 to {lanes - 1} failed in "
            f"{where}, at most {step} steps into an episode ({in_a_line(error)})"
        )


def _unsaved(env: Native) -> str | None:
    """Names an attribute that changes in play and that ``_saved`` would leave out, or None."""
    if env.unwrapped is not env:
        return "it is wrapped"
    for name, value in vars(env).items():
        numeric = isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        number = isinstance(value, bool | int | float | np.number | np.bool_)
        if not (numeric or number or isinstance(value, (np.random.Generator, *_FIXED))):
            kind = type(value).__name__
            return f"its state cannot be saved: {name} is {kind}, no array and no number"
    return None


def _saved(env: Native) -> Arrays:
    """Returns an environment's arrays, numbers and generators."""
    found: Arrays = {}
    for name, value in vars(env).items():
        if isinstance(value, np.random.Generator):
            text = json.dumps(value.bit_generator.state)
            found[name] = np.frombuffer(text.encode(), np.uint8).copy()
        elif isinstance(value, np.ndarray | bool | int | float | np.number | np.bool_):
            found[name] = np.array(value)
    return found


def _put_back(env: Native, state: Mapping[str, NDArray[Any]]) -> None:
    for name, array in state.items():
        kind, _, attribute = name.partition(".")
        if kind != "env":
            continue
        now = getattr(env, attribute)
        if isinstance(now, np.random.Generator):
            now.bit_generator.state = json.loads(array.tobytes().decode())
        elif isinstance(now, np.ndarray):
            setattr(env, attribute, np.array(array))
        else:
            setattr(env, attribute, type(now)(array[()]))

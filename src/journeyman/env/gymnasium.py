"""Any Gymnasium environment as lanes: a world is one environment, and so is a lane.

Legend: L lanes (= W worlds), D components of an action, E = 0 event kinds, R = 1 reward term.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from journeyman.env.action_spaces import ActionLayout, SpaceViolationError
from journeyman.env.episodes import episode_seed, lane_seeds
from journeyman.env.lane import Frame, broken
from journeyman.env.lanes import Crew, SeededLanes, SyncCrew
from journeyman.env.making import env_maker, quiet_gymnasium
from journeyman.env.native_lanes import NativeLanes, make_native, native_problem
from journeyman.env.protocol import LaneSpec, StepInfo
from journeyman.env.spaces import ObservationLayout, read_spaces, spec_from
from journeyman.env.twin import Twin
from journeyman.errors import UserError, in_a_line
from journeyman.policies.protocol import Observation, Policy
from journeyman.policies.registry import demonstrator_from
from journeyman.settings.external_env import GymnasiumSettings


def gymnasium_lane_spec(settings: GymnasiumSettings) -> LaneSpec:
    """Returns what a lane sees and can do; an environment is built for it once in a process.

    Raises:
        UserError: if there is no such environment, or if a part of its spaces cannot be used.
    """
    return _read(settings.model_dump_json()).spec


@dataclass(frozen=True, kw_only=True)
class _About:
    """What one look at an environment tells."""

    spec: LaneSpec
    layout: ObservationLayout
    actions: ActionLayout
    way: str
    """How it is run: ``sync``, ``async`` or ``vector_entry_point``."""
    draws: bool
    """Whether it can draw ``rgb_array``."""


@lru_cache(maxsize=64)
def _read(settings_json: str) -> _About:
    """Builds an environment, reads its spaces and closes it."""
    settings = GymnasiumSettings.model_validate_json(settings_json)
    env = env_maker(settings)()
    try:
        with quiet_gymnasium():
            _, info = env.reset(seed=0)
    except Exception as error:
        said = f"env.id={settings.id}: the environment failed in reset"
        raise UserError(f"{said} ({in_a_line(error)})") from error
    finally:
        env.close()
    name = settings.id.rpartition(":")[2]
    layout, actions = read_spaces(name, env.observation_space, env.action_space, info=info)
    return _About(
        spec=spec_from(name, layout, actions),
        layout=layout,
        actions=actions,
        way=_way(settings, layout),
        draws="rgb_array" in (env.metadata.get("render_modes") or ()),
    )


def _way(settings: GymnasiumSettings, layout: ObservationLayout) -> str:
    if settings.vectorization in ("sync", "async"):
        return settings.vectorization
    problem = native_problem(settings, layout)
    if settings.vectorization == "vector_entry_point" and problem is not None:
        raise UserError(f"env.vectorization: no vector_entry_point of {settings.id}: {problem}")
    return "sync" if problem is not None else "vector_entry_point"


class GymnasiumEnv:
    """Satisfies ``journeyman.env.protocol.LaneEnv``; nothing is counted but the reward.

    Environments are built by the first ``reset`` or ``restore``. An episode's seed comes from
    its lane's seed and its number in the lane, so that ``restore`` can play a lane's episode
    again up to where it was: whatever environment is deterministic given its seed can be resumed
    bit for bit.

    An environment's own vectorised code (``vector_entry_point``) draws all lanes from one
    generator and takes one seed: it plays where ``reset`` is given an int, and then what a lane
    plays depends on the number of lanes. Where each world has a seed of its own, as in
    evaluations, single environments play. It is used only if its state can be saved.

    Args:
        settings: which environment, and how it is run.
        num_worlds: L, at least 1.

    Raises:
        UserError: if the settings describe no possible environment.
    """

    event_names: tuple[str, ...] = ()
    reward_term_names: tuple[str, ...] = ("reward",)

    def __init__(self, settings: GymnasiumSettings, *, num_worlds: int) -> None:
        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1, got {num_worlds}")
        self.settings = settings
        self.num_envs = self.num_worlds = num_worlds
        about = _read(settings.model_dump_json())
        self.lane_spec, self._layout, self._actions = about.spec, about.layout, about.actions
        self._way, self._draws = about.way, about.draws
        self._frames = [Frame.of(self._layout, num_worlds) for _ in range(2)]
        self._events = np.zeros((num_worlds, 0), np.float32)
        self._turn = 0
        self._seeded: SeededLanes | None = None
        self._native: NativeLanes | None = None
        self._plays_natively: bool | None = None
        self._twin: Twin | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, StepInfo]:
        """Begins an episode in every lane.

        Args:
            seed: an int, W ints (one a world), or None: the next episode of each lane.
            options: unused.

        Raises:
            ValueError: if the first reset brings no seed, or not one for each world.
            TrainingError: if the environment fails.
        """
        frame = self._next_frame()
        if seed is None and self._plays_natively is None:
            raise ValueError("the first reset needs a seed")
        if seed is not None:
            one = isinstance(seed, int | np.integer)
            self._plays_natively = one and self._way == "vector_entry_point"
        if self._plays_natively:
            word = None if seed is None else episode_seed(int(seed), 0)  # type: ignore[arg-type]
            self._native_lanes().begin(word, frame.obs)
        else:
            seeds_L = None if seed is None else lane_seeds(seed, self.num_worlds)
            self._seeded_lanes().begin(seeds_L, frame.obs)
        return frame.obs, {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        """Advances all lanes; see ``LaneEnv``.

        Args:
            actions: (L,) ids, (L, D) ids, or (L, D) numbers.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
            NotFiniteError: if an action, a reward or an observation is not.
            TrainingError: if an action does not exist, if the environment fails, or if it shows
                what is not of its space.
        """
        if self._plays_natively is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        try:
            prepared_L = self._actions.prepared(actions)
        except SpaceViolationError as error:
            lane = error.lane or 0
            episode, steps = self._playing().position(lane)
            where = self.lane_spec.env_id, lane, episode, steps + 1
            raise broken(*where, str(error), kind=error.kind) from error
        frame = self._next_frame()
        if self._plays_natively:
            self._native_lanes().step(prepared_L, frame)
        else:
            self._seeded_lanes().step(actions, prepared_L, frame)
        ended_L = frame.terminated | frame.truncated
        info: StepInfo = {
            "final_obs": frame.final,
            "_final_obs": ended_L,
            "world_over": ended_L,
            "events": self._events,
            "reward_terms": frame.rewards[:, np.newaxis],
        }
        if self._plays_natively and frame.idle.any():
            info["idle"] = frame.idle
        return frame.obs, frame.rewards, frame.terminated, frame.truncated, info

    def set_social_stage(self, stage: str) -> None:
        """Accepts ``OFF`` alone.

        Raises:
            UserError: for any other stage.
        """
        if stage != "OFF":
            raise UserError(
                f"{self.lane_spec.env_id} has no social rewards (got stage {stage}; choose "
                "social_reward=off and evaluation.social_stage=OFF)"
            )

    def demonstrator(self) -> Policy:
        """Returns the demonstrator that ``env.demonstrator`` names.

        Raises:
            UserError: if it names none.
        """
        return demonstrator_from(self.settings.demonstrator, self.lane_spec)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns copies of all that ``restore`` needs.

        Of single environments these are the lanes' seeds, the numbers of their episodes and the
        actions taken in them; of vectorised ones their attributes.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        if self._plays_natively is None:
            raise gymnasium.error.ResetNeeded("call reset before state")
        saved = self._playing().state(self._frames[self._turn].obs)
        return saved | {"native": np.array(self._plays_natively)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Observation:
        """Puts a state back and returns its observation, bit for bit as it was.

        Raises:
            UserError: if the environment is not deterministic given its seed, or if the state
                is that of the other kind of vectorisation.
        """
        natively = bool(state["native"])
        if natively and self._way != "vector_entry_point":
            raise UserError(
                f"env.vectorization: the state of {self.lane_spec.env_id} was saved under "
                f"vector_entry_point and can be put back only there (got {self._way})"
            )
        frame = self._next_frame()
        self._plays_natively = natively
        self._playing().restore(state, frame.obs)
        return frame.obs

    def render_world(self, world: int) -> NDArray[np.uint8]:
        """Returns a picture of one world as it is now, (height, width, 3).

        A twin of the world's environment, built with ``render_mode="rgb_array"``, plays its
        episode again up to now.

        Raises:
            UserError: if the environment draws no pictures, or plays in its own vectorised code.
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        if self._plays_natively is None:
            raise gymnasium.error.ResetNeeded("call reset before render_world")
        if self._plays_natively or self._seeded is None:
            raise UserError(f"{self.lane_spec.env_id}: worlds that share their code are not drawn")
        if not self._draws:
            raise UserError(f"{self.lane_spec.env_id}: the environment draws no pictures")
        if self._twin is None:
            self._twin = Twin(env_maker(self.settings, render_mode="rgb_array")(), self._layout)
        return self._twin.picture(self._seeded, self._actions, world)

    def close(self) -> None:
        """Closes all environments."""
        for one in (self._seeded, self._native, self._twin):
            if one is not None:
                one.close()
        self._seeded = self._native = self._twin = None
        self._plays_natively = None

    def _next_frame(self) -> Frame:
        self._turn = 1 - self._turn
        return self._frames[self._turn]

    def _playing(self) -> "SeededLanes | NativeLanes":
        return self._native_lanes() if self._plays_natively else self._seeded_lanes()

    def _seeded_lanes(self) -> SeededLanes:
        if self._seeded is None:
            make, env_id = env_maker(self.settings), self.lane_spec.env_id
            crew: Crew
            if self._way == "async":
                from journeyman.env.async_lanes import AsyncCrew

                crew = AsyncCrew(make, env_id, self._layout, self.num_envs)
            else:
                crew = SyncCrew(make, env_id, self._layout, self.num_envs)
            self._seeded = SeededLanes(crew, self._actions, self.lane_spec, self.num_envs)
        return self._seeded

    def _native_lanes(self) -> NativeLanes:
        if self._native is None:
            env = make_native(self.settings, self.num_envs)
            self._native = NativeLanes(env, self.lane_spec, self._layout)
        return self._native

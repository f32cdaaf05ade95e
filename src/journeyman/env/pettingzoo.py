"""Parallel environments of PettingZoo as lanes: all agents share one policy.

Legend: W worlds, A agents of one world, L = W * A lanes (lane = w * A + a), F features,
N outputs of the policy, D components of an action.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.action_spaces import ActionLayout, SpaceViolationError
from journeyman.env.episodes import lane_seeds, seen_digest
from journeyman.env.pettingzoo_spaces import build, constructor, shared_spaces
from journeyman.env.pettingzoo_world import Moment, World
from journeyman.env.protocol import LaneSpec, StepInfo
from journeyman.env.spaces import MASK, Arrays, ObservationLayout, first_not_finite, spec_from
from journeyman.errors import NotFiniteError, TrainingError, UserError
from journeyman.policies.protocol import Observation, Policy
from journeyman.policies.registry import demonstrator_from
from journeyman.settings.external_env import PettingZooSettings


def pettingzoo_lane_spec(settings: PettingZooSettings) -> LaneSpec:
    """Returns what a lane of a parallel environment sees and can do.

    The environment is built, reset and closed for it, once in a process.

    Raises:
        UserError: if it cannot be built, or its agents cannot share one policy.
    """
    env_id, _, observations, actions = _read(settings.model_dump_json())
    return spec_from(env_id, observations, actions)


@lru_cache(maxsize=64)
def _read(
    settings_json: str,
) -> tuple[str, tuple[Any, ...], ObservationLayout, ActionLayout]:
    """Reads an environment's name, possible agents and spaces."""
    settings = PettingZooSettings.model_validate_json(settings_json)
    env_id = f"pettingzoo/{settings.module.rpartition('.')[2]}"
    env = build(constructor(settings.module), env_id, settings.kwargs or {})
    try:
        return (env_id, *shared_spaces(env, env_id))
    finally:
        env.close()


class PettingZooEnv:
    """W copies of a parallel environment; satisfies ``LaneEnv``.

    Every possible agent is a lane. One that is terminated or truncated is idle from the next
    step on, until nobody is left and the world begins anew (SAME_STEP autoreset); one that is
    not there at first is idle until it comes. Idle lanes see zeros and a mask that allows
    everything. Events and reward terms are not counted.

    World w's episodes are reset with seeds that come from the seed of ``reset`` and w alone, in
    an environment that is built anew unless ``settings.rebuild`` is off; ``state`` holds the
    current episode's actions, and ``restore`` plays them again.
    """

    event_names: tuple[str, ...] = ()
    reward_term_names: tuple[str, ...] = ()

    def __init__(self, settings: PettingZooSettings, *, num_worlds: int) -> None:
        """Builds the worlds.

        Args:
            settings: which environment, and its arguments.
            num_worlds: W, at least 1.

        Raises:
            UserError: if it cannot be built, or its agents cannot share one policy.
            ValueError: if there are no worlds.
        """
        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1, got {num_worlds}")
        self.settings = settings
        read = _read(settings.model_dump_json())
        self._env_id, self.agents, self._observations, self._actions = read
        self.lane_spec = spec_from(self._env_id, self._observations, self._actions)
        self.num_worlds, self.num_envs = num_worlds, num_worlds * len(self.agents)
        make = constructor(settings.module)

        def build_one(**more: Any) -> Any:
            return build(make, self._env_id, {**(settings.kwargs or {}), **more})

        self._worlds = [
            World(
                build_one,
                self.agents,
                name=f"{self._env_id}, world {w}",
                max_steps=settings.max_episode_steps,
                rebuild=settings.rebuild,
            )
            for w in range(num_worlds)
        ]
        self._begun = False
        self._last: Arrays = {}

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, StepInfo]:
        """Begins an episode in every world, as ``LaneEnv.reset`` says.

        Raises:
            ValueError: if the first reset brings no seed, or not one for each world.
            TrainingError: if the environment fails.
        """
        if seed is not None or not self._begun:
            if seed is None:
                raise ValueError("the first reset needs a seed")
            seeds = lane_seeds(seed, self.num_worlds).tolist()
            for world, own in zip(self._worlds, seeds, strict=True):
                world.seed, world.episode = own, -1
        self._begun = True
        out = self._observations.buffers(self.num_envs)
        for w, world in enumerate(self._worlds):
            self._show(out, w, world.begin(), world.present)
        self._last = out
        return out, {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        """Plays one step in every world, as ``LaneEnv.step`` says."""
        if not self._begun:
            raise RuntimeError("call reset before step")
        prepared = self._prepared(actions)
        out = self._observations.buffers(self.num_envs)
        final = self._observations.buffers(self.num_envs)
        rewards_L = np.zeros(self.num_envs, np.float32)
        terminated_L, truncated_L, idle_L = (np.zeros(self.num_envs, np.bool_) for _ in range(3))
        world_over_W = np.zeros(self.num_worlds, np.bool_)
        for w, world in enumerate(self._worlds):
            lanes = self._lanes(w)
            moment = world.step(actions[lanes], list(prepared[lanes]))
            rewards_L[lanes], idle_L[lanes] = moment.rewards, moment.idle
            terminated_L[lanes], truncated_L[lanes] = moment.terminated, moment.truncated
            ended_A = moment.terminated | moment.truncated
            self._show(final, w, moment, ended_A, ended=True)
            world_over_W[w] = moment.over
            if moment.over:
                moment = world.begin()
            self._show(out, w, moment, world.present)
        info: StepInfo = {
            "final_obs": final,
            "_final_obs": terminated_L | truncated_L,
            "world_over": world_over_W,
            "events": np.zeros((self.num_envs, 0), np.float32),
            "reward_terms": np.zeros((self.num_envs, 0), np.float32),
        }
        if idle_L.any():
            info["idle"] = idle_L
        self._last = out
        return out, rewards_L, terminated_L, truncated_L, info

    def set_social_stage(self, stage: str) -> None:
        """Accepts ``OFF``: there are no social rewards here.

        Raises:
            UserError: for any other stage.
        """
        if stage != "OFF":
            raise UserError(f"{self._env_id} has no social rewards (got stage {stage})")

    def demonstrator(self) -> Policy:
        """Returns the demonstrator that the settings name.

        Raises:
            UserError: if they name none, or one that cannot play here.
        """
        return demonstrator_from(self.settings.demonstrator, self.lane_spec)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns the worlds' seeds and the actions of their current episodes.

        ``seed`` (W,), ``episode`` (W,), ``steps`` (W,) int64, ``actions`` (W, most steps,
        A) or with D components (W, most steps, A, D), zeros beyond a world's steps, and
        ``seen`` (W, 32) uint8, a digest of what the agents see.
        """
        spec, worlds = self.lane_spec, self._worlds
        steps = [len(world.played) for world in worlds]
        shape = (len(worlds), max(steps), len(self.agents), *spec.action_shape)
        actions = np.zeros(shape, spec.action_dtype)
        for w, world in enumerate(worlds):
            if world.played:
                actions[w, : steps[w]] = world.played
        return {
            "seed": np.array([world.seed for world in worlds], np.int64),
            "episode": np.array([world.episode for world in worlds], np.int64),
            "steps": np.array(steps, np.int64),
            "actions": actions,
            "seen": np.stack([seen_digest(self._last, self._lanes(w)) for w in range(len(worlds))]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Observation:
        """Puts a state back by playing each world's episode again up to where it stood.

        Raises:
            ValueError: if the state is that of another number of worlds, agents or actions.
            UserError: if the environment does not come back to what it showed, because it draws
                from something else than the seed of its ``reset``.
        """
        expected = (self.num_worlds, len(self.agents), *self.lane_spec.action_shape)
        actions = state["actions"]
        got = (actions.shape[0], *actions.shape[2:])
        if got != expected:
            raise ValueError(
                f"{self._env_id}: a state of (worlds, agents, ...) {got}, not {expected}"
            )
        out = self._observations.buffers(self.num_envs)
        for w, world in enumerate(self._worlds):
            world.seed, world.episode = int(state["seed"][w]), int(state["episode"][w])
            played = actions[w, : int(state["steps"][w])]
            try:
                moment = world.again(np.array(played, self.lane_spec.action_dtype), self._row)
            except TrainingError as error:
                raise self._not_repeatable(w) from error
            self._show(out, w, moment, world.present)
            if not np.array_equal(seen_digest(out, self._lanes(w)), state["seen"][w]):
                raise self._not_repeatable(w)
        self._begun, self._last = True, out
        return out

    def render_world(self, world: int) -> NDArray[np.uint8]:
        """Returns a picture of one world as it is now, (height, width, 3).

        The first picture of a world makes its environment anew, able to draw itself, and plays
        the episode so far again.

        Raises:
            UserError: if the environment cannot draw itself.
        """
        shown = self._worlds[world]
        if not shown.drawable:
            modes = shown.env.metadata.get("render_modes", [])
            if "rgb_array" not in modes:
                raise UserError(
                    f"{self._env_id} cannot draw itself: its render modes are {list(modes)}, "
                    "none is rgb_array"
                )
            shown.make_drawable(self._row)
        picture = shown.env.render()
        shape = np.shape(picture)
        if len(shape) != 3 or shape[2] != 3:
            raise UserError(f"{self._env_id}: render gave {shape}, not (height, width, 3)")
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Closes every world."""
        for world in self._worlds:
            world.env.close()

    def _not_repeatable(self, world: int) -> UserError:
        anew = "" if self.settings.rebuild else "set env.rebuild=true, or "
        return UserError(
            f"{self._env_id}, world {world}: the play cannot be taken up again, because the same "
            f"seed and actions lead to something else than before; {anew}draw all chance from the "
            "seed of reset"
        )

    def _lanes(self, world: int) -> slice:
        return slice(world * len(self.agents), (world + 1) * len(self.agents))

    def _prepared(self, actions: NDArray[Any]) -> NDArray[Any]:
        if len(actions) != self.num_envs:
            raise ValueError(f"actions for {self.num_envs} lanes are needed, got {len(actions)}")
        try:
            return self._actions.prepared(actions)
        except SpaceViolationError as error:
            world, lane = divmod(error.lane or 0, len(self.agents))
            said = f"was given an impossible action: {error}"
            self._worlds[world].fail(said, lane, kind=error.kind)

    def _row(self, actions: NDArray[Any]) -> list[Any]:
        return list(self._actions.prepared(actions))

    def _show(
        self, out: Arrays, w: int, moment: Moment, who_A: NDArray[np.bool_], *, ended: bool = False
    ) -> None:
        """Writes what some agents of a world see.

        Args:
            out: of all lanes.
            w: the world.
            moment: what it shows.
            who_A: whose observations are needed.
            ended: these are last ones, which no action follows: whoever terminated may be
                shown nothing, and masks in the info may be missing.
        """
        world, lanes = self._worlds[w], self._lanes(w)
        for a in np.flatnonzero(who_A).tolist():
            agent = self.agents[a]
            if agent not in moment.seen:
                if ended and moment.terminated[a]:
                    continue
                world.fail("got no observation", a)
            info = moment.infos.get(agent, {})
            if ended and self._observations.mask_from == "info":
                info = {MASK: out[MASK][lanes][a], **info}
            try:
                self._observations.write(out, lanes.start + a, moment.seen[agent], info)
            except SpaceViolationError as error:
                world.fail(f"got an observation that is not of its space: {error}", a)
            if MASK in out and not ended and not out[MASK][lanes][a].any():
                world.fail("may do nothing: its action_mask allows no action", a)
        if (broken := first_not_finite(out["features"][lanes])) is not None:
            lane, column = broken
            name = self.lane_spec.feature_names[column]
            world.fail(f"sees a number that is not finite in {name}", lane, kind=NotFiniteError)

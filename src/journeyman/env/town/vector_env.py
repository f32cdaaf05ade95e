"""The town as a Gymnasium vector environment whose lanes are the agents of all worlds.

Legend: W worlds, A agents, L = W * A lanes (lane = w * A + a), F features, N = 9 actions.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from journeyman.env.protocol import LaneSpec, StepInfo
from journeyman.env.town.compiled import bound, worth_threads
from journeyman.env.town.founding import found_town
from journeyman.env.town.names import (
    ACTION_NAMES,
    EVENT_NAMES,
    SOCIAL_STAGES,
    TERM_NAMES,
)
from journeyman.env.town.scenarios import resolve_layout
from journeyman.env.town.scripted import ScriptedTownsfolk
from journeyman.env.town.specification import town_lane_spec
from journeyman.env.town.state import from_arrays, to_arrays
from journeyman.env.town.tabulation import tables_from
from journeyman.env.town.tick import (
    BEGIN,
    OBSERVE,
    TICK,
    Outputs,
    are_intents,
    run_parallel,
    run_serial,
)
from journeyman.env.town.variants import VARIANTS
from journeyman.errors import UserError
from journeyman.settings.env import TownSettings

Observed = dict[str, NDArray[Any]]
Run = Callable[..., None]


class TownVectorEnv(VectorEnv[Any, Any, Any]):
    """All agents of all worlds, stepped together.

    An agent who faints or is evicted terminates its lane and goes on from home in the same
    tick. After ``episode_ticks`` all lanes of a world are truncated and the world begins anew.
    ``terminated`` and ``truncated`` are independent: who faints in the last tick has both.

    The arrays that ``reset`` and ``step`` hand over are buffers used in turn: they hold until
    the second next call, or for ever where ``copy`` is set.
    """

    metadata = {  # noqa: RUF012
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 8,
    }

    event_names: tuple[str, ...] = EVENT_NAMES
    reward_term_names: tuple[str, ...] = TERM_NAMES

    def __init__(
        self,
        settings: TownSettings,
        *,
        num_worlds: int,
        social_stage: str = "OFF",
        render_mode: str | None = None,
        copy: bool = False,
    ) -> None:
        """Builds the worlds.

        Args:
            settings: the town's settings.
            num_worlds: W, at least 1.
            social_stage: which social rewards count: ``OFF``, ``C1``, ``C2`` or ``C3``.
            render_mode: what ``render`` returns: ``rgb_array``, ``ansi``, or None: nothing.
            copy: hand over new arrays in each step, at some cost in time.

        Raises:
            UserError: if the settings describe no possible world.
            ValueError: if there are no worlds, or if the render mode is unknown.
        """
        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1, got {num_worlds}")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = self.metadata["render_modes"]
            raise ValueError(f"render_mode {render_mode!r} is unknown; allowed: None, {modes}")
        self.render_mode = render_mode
        self.settings = settings
        self.layout = resolve_layout(settings)
        self.lane_spec: LaneSpec = town_lane_spec(settings)
        self.num_worlds = num_worlds
        self.num_envs = num_worlds * self.layout.agents
        variant = VARIANTS[settings.observation.variant]
        self.single_observation_space = _observation_space(self.lane_spec, variant.highest)
        self.single_action_space = gymnasium.spaces.Discrete(len(ACTION_NAMES))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.tables = tables_from(settings, self.layout)
        self.town = found_town(settings, self.layout, num_worlds)
        self._buffers = [_outputs(num_worlds, self.num_envs, self.lane_spec) for _ in range(2)]
        self._copy = copy
        self._turn = 0
        self._begun = False
        self._no_actions = np.zeros(self.num_envs, np.int64)
        self.set_social_stage(social_stage)

    def set_social_stage(self, stage: str) -> None:
        """Switches the social rewards from the next step on.

        Raises:
            UserError: if there is no such stage.
        """
        if stage not in SOCIAL_STAGES:
            raise UserError(f"social stage {stage!r} is unknown; allowed: {list(SOCIAL_STAGES)}")
        self.social_stage = stage
        self._stage_rank = SOCIAL_STAGES.index(stage)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observed, StepInfo]:
        """Begins an episode in every world.

        Args:
            seed: an int (world w's stream comes from it and w alone), W ints (one a world), or
                None: the worlds go on with their streams, or with fresh entropy at first.
            options: unused.

        Raises:
            ValueError: if a sequence of seeds has not one for each world.
        """
        if seed is not None or not self._begun:
            self._seed_worlds(seed)
        self._begun = True
        self.town.worlds["episode"] = 0
        return _present(self._run(BEGIN, self._no_actions)), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observed, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        """Advances all worlds by one tick.

        Args:
            actions: (L,) intents; one that the mask forbids is carried out as ``wait``.

        Returns:
            obs, rewards (L,), terminated (L,), truncated (L,), info as in ``LaneEnv``.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
            ValueError: if the shape is wrong or an action does not exist.
        """
        if not self._begun:
            raise gymnasium.error.ResetNeeded("call reset before step")
        actions_L = np.ascontiguousarray(actions, dtype=np.int64)
        if actions_L.shape != (self.num_envs,):
            raise ValueError(f"actions must be ({self.num_envs},), got {actions_L.shape}")
        if not are_intents(actions_L):
            raise ValueError(f"actions must be in [0, {len(ACTION_NAMES)}), got {actions_L}")
        out = self._run(TICK, actions_L)
        info = {
            "final_obs": {
                "features": out.final_features,
                "map": out.final_maps,
                "action_mask": out.final_mask,
            },
            "_final_obs": out.ended,
            "world_over": out.world_over,
            "events": out.events,
            "reward_terms": out.terms,
        }
        return _present(out), out.rewards, out.terminated, out.truncated, info

    def render(self) -> tuple[Any, ...] | None:
        """Returns a picture of each world, W in all: (height, width, 3) uint8, or text."""
        if self.render_mode is None:
            return None
        return tuple(self.render_world(w, self.render_mode) for w in range(self.num_worlds))

    def render_world(self, world: int, mode: str = "rgb_array") -> NDArray[np.uint8] | str:
        """Returns a picture of one world as it is now, whatever ``render_mode`` says.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        from journeyman.env.town.render import paint, write
        from journeyman.env.town.scene import scene_of

        if not self._begun:
            raise gymnasium.error.ResetNeeded("call reset before render")
        scene = scene_of(self.settings, self.layout, self.town, world)
        return write(scene) if mode == "ansi" else paint(scene)

    def demonstrator(self) -> ScriptedTownsfolk:
        """Returns the scripted demonstrator, who plays this very environment."""
        return ScriptedTownsfolk(self.town, self.tables)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns copies of all arrays the worlds are made of, generators included."""
        return to_arrays(self.town)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Observed:
        """Puts a state back and returns its observation, bit for bit as it was.

        Raises:
            ValueError: if the state is that of another town; nothing is then changed.
        """
        from_arrays(self.town, state)
        self._begun = True
        return _present(self._run(OBSERVE, self._no_actions))

    @cached_property
    def _run_serial(self) -> Run:
        return self._bound(run_serial)

    @cached_property
    def _run_parallel(self) -> Run:
        return self._bound(run_parallel)

    def _bound(self, run: Run) -> Run:
        return bound(run, self.town, self.tables, self._no_actions, 0, TICK, self._buffers[0])

    def _run(self, mode: int, actions_L: NDArray[np.int64]) -> Outputs:
        self._turn = 1 - self._turn
        if self._copy:
            self._buffers[self._turn] = _outputs(self.num_worlds, self.num_envs, self.lane_spec)
        out = self._buffers[self._turn]
        threads = worth_threads(self.num_worlds, self.num_envs)
        run = self._run_parallel if threads else self._run_serial
        run(self.town, self.tables, actions_L, self._stage_rank, mode, out)
        return out

    def _seed_worlds(self, seed: int | Sequence[int] | None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        if isinstance(seed, int | np.integer):
            sequences = [
                np.random.SeedSequence(int(seed), spawn_key=(w,)) for w in range(self.num_worlds)
            ]
        elif len(seed) == self.num_worlds:
            sequences = [np.random.SeedSequence(int(one)) for one in seed]
        else:
            raise ValueError(f"seed: {len(seed)} seeds for {self.num_worlds} worlds")
        for w, sequence in enumerate(sequences):
            words = sequence.generate_state(4, np.uint32)
            for i, word in enumerate(words):
                self.town.worlds[f"rng_{i}"][w] = int(word)


def _observation_space(spec: LaneSpec, highest: int) -> gymnasium.spaces.Dict:
    spaces = gymnasium.spaces
    return spaces.Dict(
        {
            "features": spaces.Box(-1.0, 1.0, (len(spec.feature_names),), np.float32),
            "map": spaces.Box(0, highest, spec.map_shape, np.uint8),
            "action_mask": spaces.Box(0, 1, (len(ACTION_NAMES),), np.bool_),
        }
    )


def _outputs(worlds: int, lanes: int, spec: LaneSpec) -> Outputs:
    assert spec.map_shape is not None
    map_shape, features = spec.map_shape, len(spec.feature_names)

    def maps() -> NDArray[np.uint8]:
        return np.zeros((lanes, *map_shape), np.uint8)

    return Outputs(
        features=np.zeros((lanes, features), np.float32),
        maps=maps(),
        mask=np.zeros((lanes, len(ACTION_NAMES)), np.bool_),
        final_features=np.zeros((lanes, features), np.float32),
        final_maps=maps(),
        final_mask=np.zeros((lanes, len(ACTION_NAMES)), np.bool_),
        rewards=np.zeros(lanes, np.float32),
        terms=np.zeros((lanes, len(TERM_NAMES)), np.float32),
        events=np.zeros((lanes, len(EVENT_NAMES)), np.float32),
        terminated=np.zeros(lanes, np.bool_),
        truncated=np.zeros(lanes, np.bool_),
        ended=np.zeros(lanes, np.bool_),
        world_over=np.zeros(worlds, np.bool_),
        ledger=np.zeros((lanes, len(TERM_NAMES)), np.float64),
    )


def _present(out: Outputs) -> Observed:
    return {"features": out.features, "map": out.maps, "action_mask": out.mask}

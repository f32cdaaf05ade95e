"""What one step of an environment must look like; the first breach of each rule is remembered.

Legend: L lanes, W worlds, F features, N outputs of the policy, E event kinds, R reward terms.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneEnv, LaneSpec, StepInfo

ADVICE = "advice: "
"""How a sentence begins that names something to think about, and nothing wrong."""

WIDE_FEATURE = 10.0
"""Features beyond this are better whitened: networks expect numbers around 1."""

LARGE_REWARD = 10.0
"""Rewards beyond this are better scaled: values are regressed on their sums."""

_INFO = ("final_obs", "_final_obs", "world_over", "events", "reward_terms")


class Inspector:
    """Looks at what an environment hands over.

    Attributes:
        found: rule -> the sentence about its first breach.
        worlds_over: (W,) int64, episodes that ended in each world.
    """

    def __init__(self, env: LaneEnv) -> None:
        self.found: dict[str, str] = {}
        self.worlds_over = np.zeros(env.num_worlds, np.int64)
        self._spec: LaneSpec = env.lane_spec
        self._lanes, self._worlds = env.num_envs, env.num_worlds
        self._events, self._terms = len(env.event_names), len(env.reward_term_names)
        self._widest = np.zeros(len(env.lane_spec.feature_names), np.float64)
        self._lowest, self._highest, self._steps = np.inf, -np.inf, 0
        self._masked = self._terminated = False

    def say(self, rule: str, sentence: str) -> None:
        """Remembers a breach of a rule, unless there was one before."""
        self.found.setdefault(rule, sentence)

    def spec(self) -> None:
        """Looks at the lane spec."""
        for what, names in (
            ("feature_names", self._spec.feature_names),
            ("action_names", self._spec.action_names),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                self.say(what, f"lane_spec.{what}: {twice[0]!r} is there twice; names must differ")
        if self._lanes % self._worlds:
            self.say(
                "lanes",
                f"num_envs: {self._lanes} lanes in {self._worlds} worlds; every world must have "
                "as many",
            )
        if self._spec.action_kind == "multi_discrete":
            total, outputs = sum(self._spec.action_sizes), len(self._spec.action_names)
            if total != outputs:
                self.say(
                    "action_sizes",
                    f"lane_spec.action_sizes: they sum to {total}, and there are {outputs} names",
                )

    def observation(self, where: str, obs: Any, rows: NDArray[np.bool_] | None = None) -> bool:
        """Looks at an observation; ``rows``: (L,), whose rows count; None: all.

        Returns:
            Whether it can be acted on.
        """
        spec = self._spec
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "features": ((self._lanes, len(spec.feature_names)), np.float32)
        }
        if spec.map_shape is not None:
            expected["map"] = ((self._lanes, *spec.map_shape), np.uint8)
        if spec.has_action_mask:
            expected["action_mask"] = ((self._lanes, len(spec.action_names)), np.bool_)
        whole = True
        for name, (shape, dtype) in expected.items():
            whole &= self._array(f"{where}: observation {name}", obs, name, shape, dtype)
        if not whole:
            return False
        counted = np.ones(self._lanes, np.bool_) if rows is None else rows
        features = obs["features"]
        broken = np.argwhere(~np.isfinite(features) & counted[:, None])
        if len(broken):
            lane, column = broken[0]
            self.say(
                "finite",
                f"{where}: feature {spec.feature_names[column]} of lane {lane} is "
                f"{features[lane, column]}; every feature must be finite",
            )
        if rows is None:
            np.maximum(self._widest, np.abs(features).max(axis=0), out=self._widest)
            if spec.has_action_mask:
                return self._mask(where, obs["action_mask"])
        return True

    def _mask(self, where: str, mask_LN: NDArray[np.bool_]) -> bool:
        self._masked |= not mask_LN.all()
        sizes = self._spec.action_sizes or (len(self._spec.action_names),)
        starts = np.cumsum([0, *sizes[:-1]])
        closed = np.argwhere(~np.logical_or.reduceat(mask_LN, starts, axis=1))
        if len(closed):
            lane, component = closed[0]
            of = f" of component {component}" if self._spec.action_sizes else ""
            self.say(
                "mask",
                f"{where}: the action mask of lane {lane} allows no action{of}; one at least "
                "must be open",
            )
        return not len(closed)

    def step(self, step: int, outcome: tuple[Any, ...]) -> bool:
        """Looks at what ``step`` returned; returns whether play can go on."""
        where = f"step {step}"
        if not isinstance(outcome, tuple) or len(outcome) != 5:
            self.say("step", f"{where}: it must return obs, rewards, terminated, truncated, info")
            return False
        obs, rewards, terminated, truncated, info = outcome
        said = {"rewards": rewards, "terminated": terminated, "truncated": truncated}
        whole = self._array(f"{where}: rewards", said, "rewards", (self._lanes,), np.float32)
        for name in ("terminated", "truncated"):
            whole &= self._array(f"{where}: {name}", said, name, (self._lanes,), np.bool_)
        absent = [name for name in _INFO if name not in info]
        if absent:
            self.say("info", f"{where}: info has no {', '.join(absent)}; a step's info needs it")
        if not whole or absent or not self._info_arrays(where, info):
            return False
        idle = info.get("idle", np.zeros(self._lanes, np.bool_))
        self._rewards(where, rewards, info, idle)
        self._ends(where, terminated, truncated, info, idle)
        self.worlds_over += info["world_over"]
        self._steps += 1
        return self.observation(where, obs)

    def _info_arrays(self, where: str, info: StepInfo) -> bool:
        lanes, worlds = (self._lanes,), (self._worlds,)
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "_final_obs": (lanes, np.bool_),
            "world_over": (worlds, np.bool_),
            "events": ((self._lanes, self._events), np.float32),
            "reward_terms": ((self._lanes, self._terms), np.float32),
        }
        if "idle" in info:
            expected["idle"] = (lanes, np.bool_)
        whole = True
        for name, (shape, dtype) in expected.items():
            whole &= self._array(f"{where}: info[{name!r}]", info, name, shape, dtype)
        return whole

    def _rewards(
        self, where: str, rewards: NDArray[Any], info: StepInfo, idle: NDArray[np.bool_]
    ) -> None:
        acting = ~idle
        for name, numbers in (
            ("reward", rewards[:, None]),
            ("event", info["events"]),
            ("reward term", info["reward_terms"]),
        ):
            broken = np.flatnonzero(~np.isfinite(numbers).all(axis=1) & acting)
            if len(broken):
                self.say(name, f"{where}: a {name} of lane {broken[0]} is not finite")
        paid = np.flatnonzero(idle & (rewards != 0.0))
        if len(paid):
            self.say("idle", f"{where}: lane {paid[0]} is idle and gets a reward; it must be 0")
        if acting.any():
            self._lowest = min(self._lowest, float(rewards[acting].min()))
            self._highest = max(self._highest, float(rewards[acting].max()))

    def _ends(
        self,
        where: str,
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        info: StepInfo,
        idle: NDArray[np.bool_],
    ) -> None:
        ended = terminated | truncated
        self._terminated |= bool(terminated.any())
        wrong = np.flatnonzero(info["_final_obs"] != ended)
        if len(wrong):
            self.say(
                "_final_obs",
                f"{where}: info['_final_obs'] of lane {wrong[0]} is "
                f"{info['_final_obs'][wrong[0]]}; it must be terminated | truncated",
            )
        if ended.any():
            self.observation(f"{where}: final_obs", info["final_obs"], ended)
        over = np.repeat(info["world_over"], self._lanes // self._worlds)
        open_ended = np.flatnonzero(over & ~ended & ~idle)
        if len(open_ended):
            self.say(
                "world_over",
                f"{where}: the world of lane {open_ended[0]} is over, and the lane was neither "
                "terminated, truncated nor idle; set truncated where a limit ends it",
            )
        ghosts = np.flatnonzero(idle & ended)
        if len(ghosts):
            self.say(
                "idle end",
                f"{where}: lane {ghosts[0]} is idle and ends; it ended before, and once is enough",
            )

    def _array(self, what: str, owner: Any, name: str, shape: tuple[int, ...], dtype: type) -> bool:
        array = owner.get(name) if hasattr(owner, "get") else None
        if not isinstance(array, np.ndarray):
            kind = "absent" if array is None else f"a {type(array).__name__}"
            self.say(name, f"{what} is {kind}; it must be an array {shape} {np.dtype(dtype)}")
            return False
        if array.shape != shape or array.dtype != dtype:
            self.say(
                name,
                f"{what} is {array.shape} {array.dtype}; it must be {shape} {np.dtype(dtype)}",
            )
            return False
        return True

    def advise(self) -> None:
        """Adds what random play shows that is worth a thought."""
        if not self._steps:
            return
        wide = np.flatnonzero(self._widest > WIDE_FEATURE)
        if len(wide):
            most = int(np.argmax(self._widest))
            self.say(
                "wide",
                f"{ADVICE}{len(wide)} of {len(self._widest)} features go beyond "
                f"{WIDE_FEATURE:g} (the furthest is {self._spec.feature_names[most]} with "
                f"{self._widest[most]:.4g}): train with normalize_features=true",
            )
        if self._lowest == self._highest and not self._terminated:
            self.say(
                "constant reward",
                f"{ADVICE}in {self._steps} steps of random play every reward was "
                f"{self._lowest:g} and no lane terminated: chance finds nothing to learn from; "
                "start from demonstrations",
            )
        elif max(-self._lowest, self._highest) > LARGE_REWARD:
            self.say(
                "large reward",
                f"{ADVICE}rewards lie between {self._lowest:.4g} and {self._highest:.4g}: train "
                "with normalize_rewards=true",
            )
        if not self.worlds_over.any():
            self.say(
                "endless",
                f"{ADVICE}no episode ended in {self._steps} steps of random play; evaluations "
                "play to the end, so there must be one: look longer, or set a limit "
                "(env.max_episode_steps)",
            )
        if self._spec.has_action_mask and not self._masked:
            self.say("open mask", f"{ADVICE}the action mask allowed everything all the time")

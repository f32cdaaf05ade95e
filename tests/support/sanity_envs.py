"""Tiny environments that each need one capability, and nothing else, to be solved.

Who plays them perfectly earns a reward that is known in closed form; the tests take the one
detail away that an environment asks for and show that it is then not solved.

Legend: L lanes, W worlds, A agents of one world (lane = w * A + a), N actions, D components.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneSpec
from journeyman.policies.protocol import Policy

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

Paid = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]
"""Rewards, terminated, truncated, each (L,)."""


class SanityEnv:
    """What they share: seeding, autoreset, the info of a step, state and restore.

    Subclasses say what a lane sees, what an action brings, and how an episode begins. All that
    changes is in ``now``; chance is splitmix64 (Steele et al. 2014), a word of state a world.
    """

    event_names: tuple[str, ...] = ()
    reward_term_names = ("reward",)

    def __init__(self, num_worlds: int, spec: LaneSpec, *, agents: int = 1) -> None:
        self.num_worlds, self.agents, self.num_envs = num_worlds, agents, num_worlds * agents
        self.lane_spec = spec
        self.now: dict[str, NDArray[Any]] = {"stream": np.zeros(num_worlds, np.uint64)}

    def see(self) -> dict[str, NDArray[Any]]:
        """Returns what the lanes see now, arrays of their own."""
        raise NotImplementedError

    def play(self, actions: NDArray[Any]) -> Paid:
        """Advances everything but ended episodes."""
        raise NotImplementedError

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        """Starts an episode in these worlds."""
        raise NotImplementedError

    def uniforms(self, columns: int) -> NDArray[np.float64]:
        """Returns (W, columns) in [0, 1); every world draws from its own stream."""
        drawn = np.empty((self.num_worlds, columns))
        for column in range(columns):
            self.now["stream"] = self.now["stream"] + GOLDEN
            word = self.now["stream"].copy()
            for shift, mixer in zip((30, 27), MIXERS, strict=True):
                word = (word ^ (word >> np.uint64(shift))) * mixer
            drawn[:, column] = (word ^ (word >> np.uint64(31))) >> np.uint64(11)
        return drawn * 2.0**-53

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        if seed is not None:
            if isinstance(seed, int):
                roots = [np.random.SeedSequence(seed, spawn_key=(w,)) for w in self.worlds]
            else:
                roots = [np.random.SeedSequence(one) for one in seed]
            words = [root.generate_state(1, np.uint64)[0] for root in roots]
            self.now["stream"] = np.array(words, np.uint64)
        self.begin(np.ones(self.num_worlds, np.bool_))
        return self.see(), {}

    @property
    def worlds(self) -> range:
        """Their numbers."""
        return range(self.num_worlds)

    def step(self, actions: NDArray[Any]) -> tuple[Any, ...]:
        rewards, terminated, truncated = self.play(actions)
        final_obs = self.see()
        ended = terminated | truncated
        world_over = ended.reshape(self.num_worlds, self.agents).all(axis=1)
        self.begin(world_over)
        info = {
            "final_obs": final_obs,
            "_final_obs": ended,
            "world_over": world_over,
            "events": np.zeros((self.num_envs, 0), np.float32),
            "reward_terms": rewards[:, np.newaxis],
        }
        return self.see(), rewards, terminated, truncated, info

    def set_social_stage(self, stage: str) -> None:
        assert stage == "OFF"

    def demonstrator(self) -> Policy:
        raise NotImplementedError("nobody demonstrates these")

    def state(self) -> dict[str, NDArray[Any]]:
        return {name: array.copy() for name, array in self.now.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.now = {name: np.array(array) for name, array in state.items()}
        return self.see()

    def close(self) -> None:
        pass

    def always(self, value: bool) -> NDArray[np.bool_]:
        """Returns (L,) of one value."""
        return np.full(self.num_envs, value)


def one_hot(indices: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Returns (L, count)."""
    return np.eye(count, dtype=np.float32)[indices]


class Bandit(SanityEnv):
    """One pull an episode: a lane sees one of N contexts, and one arm of N pays 1 in each.

    Without memory and without a future: all that counts is which action was taken on what was
    seen. Perfect play earns 1 a pull, any play that does not look 1 / N.
    """

    def __init__(self, num_worlds: int, *, arms: int = 4) -> None:
        names = tuple(f"context_{k}" for k in range(arms))
        spec = LaneSpec(
            env_id="sanity/bandit",
            feature_names=names,
            action_names=tuple(f"arm_{k}" for k in range(arms)),
        )
        super().__init__(num_worlds, spec)
        self.arms = arms
        self.now["context"] = np.zeros(num_worlds, np.int64)

    def see(self) -> dict[str, NDArray[Any]]:
        return {"features": one_hot(self.now["context"], self.arms)}

    def play(self, actions: NDArray[Any]) -> Paid:
        right = actions == (self.now["context"] + 1) % self.arms
        return right.astype(np.float32), self.always(True), self.always(False)

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        drawn = (self.uniforms(1)[:, 0] * self.arms).astype(np.int64)
        self.now["context"] = np.where(worlds, drawn, self.now["context"])


class DelayedReward(SanityEnv):
    """Two steps: taking .3 now, or waiting for 1 at the second step, whatever is done there.

    A lane sees whether it has to choose, has taken or has waited. Perfect play earns 1 an
    episode; who looks no further than the next reward takes the .3.
    """

    TAKEN = 0.3

    def __init__(self, num_worlds: int) -> None:
        spec = LaneSpec(
            env_id="sanity/delayed_reward",
            feature_names=("choosing", "taken", "waited"),
            action_names=("take", "wait"),
        )
        super().__init__(num_worlds, spec)
        self.now["stage"] = np.zeros(num_worlds, np.int64)

    def see(self) -> dict[str, NDArray[Any]]:
        return {"features": one_hot(self.now["stage"], 3)}

    def play(self, actions: NDArray[Any]) -> Paid:
        stage = self.now["stage"]
        rewards = np.where(stage == 2, 1.0, 0.0)
        rewards[(stage == 0) & (actions == 0)] = self.TAKEN
        self.now["stage"] = actions.astype(np.int64) + 1
        return rewards.astype(np.float32), stage > 0, self.always(False)

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        self.now["stage"] = np.where(worlds, 0, self.now["stage"])


class OpenDoors(SanityEnv):
    """One door of N an episode; only two are open, and nothing but the mask says which.

    Door k pays (k + 1) / N if it is open and 0 if it is not. Perfect play takes the better open
    door; who does not know what is open does best with the last one, which pays 1 and is open in
    2 of N episodes.
    """

    def __init__(self, num_worlds: int, *, doors: int = 6, masked: bool = True) -> None:
        spec = LaneSpec(
            env_id="sanity/open_doors",
            feature_names=("nothing",),
            action_names=tuple(f"door_{k}" for k in range(doors)),
            has_action_mask=masked,
        )
        super().__init__(num_worlds, spec)
        self.doors, self.masked = doors, masked
        self.now["open"] = np.ones((num_worlds, doors), np.bool_)

    @property
    def blind(self) -> float:
        """Mean reward of always trying the last door."""
        return 2.0 / self.doors

    @property
    def perfect(self) -> float:
        """Mean reward of the better open door: the greater of two of 1..N is 2 (N + 1) / 3."""
        return 2.0 * (self.doors + 1) / 3.0 / self.doors

    def see(self) -> dict[str, NDArray[Any]]:
        obs: dict[str, NDArray[Any]] = {"features": np.ones((self.num_envs, 1), np.float32)}
        if self.masked:
            obs["action_mask"] = self.now["open"].copy()
        return obs

    def play(self, actions: NDArray[Any]) -> Paid:
        is_open = self.now["open"][np.arange(self.num_envs), actions]
        assert is_open.all() or not self.masked, "a masked action was chosen"
        rewards = (is_open * (actions + 1) / self.doors).astype(np.float32)
        return rewards, self.always(True), self.always(False)

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        order = np.argsort(self.uniforms(self.doors), axis=1)
        drawn = np.zeros((self.num_worlds, self.doors), np.bool_)
        np.put_along_axis(drawn, order[:, :2], True, axis=1)
        self.now["open"] = np.where(worlds[:, np.newaxis], drawn, self.now["open"])


class CutShort(SanityEnv):
    """A life without end that is always cut after three steps: entrance, hall, hall.

    The entrance pays -1, the hall 1, for ever; nothing can be done about it. So with discount g
    the hall is worth 1 / (1 - g) and the entrance -1 + g / (1 - g), however short the episodes.
    """

    STEPS = 3

    def __init__(self, num_worlds: int, *, terminates: bool = False) -> None:
        spec = LaneSpec(
            env_id="sanity/cut_short",
            feature_names=("entrance", "hall"),
            action_names=("stay", "stay_too"),
        )
        super().__init__(num_worlds, spec)
        self.terminates = terminates
        self.now["tick"] = np.zeros(num_worlds, np.int64)

    def see(self) -> dict[str, NDArray[Any]]:
        return {"features": one_hot((self.now["tick"] > 0).astype(np.int64), 2)}

    def play(self, actions: NDArray[Any]) -> Paid:
        rewards = np.where(self.now["tick"] == 0, -1.0, 1.0).astype(np.float32)
        self.now["tick"] = self.now["tick"] + 1
        ended = self.now["tick"] == self.STEPS
        if self.terminates:
            return rewards, ended, self.always(False)
        return rewards, self.always(False), ended

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        self.now["tick"] = np.where(worlds, 0, self.now["tick"])


class Coordination(SanityEnv):
    """Two agents of one policy; both earn 1 if the leader leads and the follower follows.

    Who is the leader is drawn anew each episode of one step. Perfect play earns 1; agents that
    are not told their roles act alike, and independently: at most 1 / 4.
    """

    def __init__(self, num_worlds: int, *, told: bool = True) -> None:
        spec = LaneSpec(
            env_id="sanity/coordination",
            feature_names=("leader", "follower"),
            action_names=("lead", "follow"),
        )
        super().__init__(num_worlds, spec, agents=2)
        self.told = told
        self.now["role"] = np.zeros(self.num_envs, np.int64)

    def see(self) -> dict[str, NDArray[Any]]:
        roles = one_hot(self.now["role"], 2)
        return {"features": roles if self.told else np.full_like(roles, 0.5)}

    def play(self, actions: NDArray[Any]) -> Paid:
        right = (actions == self.now["role"]).reshape(self.num_worlds, 2).all(axis=1)
        return np.repeat(right, 2).astype(np.float32), self.always(True), self.always(False)

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        first = (self.uniforms(1)[:, 0] < 0.5).astype(np.int64)
        drawn = np.stack([first, 1 - first], axis=1).ravel()
        self.now["role"] = np.where(np.repeat(worlds, 2), drawn, self.now["role"])


class ContinuousTarget(SanityEnv):
    """Hit the point you see: targets uniform in [-1, 1]^2, the reward is minus the distance^2.

    Actions outside [-1, 1] are clipped. Perfect play earns 0; who does not see the target does
    best in the middle, for -2 / 3.
    """

    def __init__(self, num_worlds: int, *, shown: bool = True) -> None:
        spec = LaneSpec(
            env_id="sanity/continuous_target",
            feature_names=("target_x", "target_y"),
            action_names=("x", "y"),
            action_kind="box",
            action_low=(-1.0, -1.0),
            action_high=(1.0, 1.0),
        )
        super().__init__(num_worlds, spec)
        self.shown = shown
        self.now["target"] = np.zeros((num_worlds, 2))

    def see(self) -> dict[str, NDArray[Any]]:
        return {"features": (self.now["target"] * self.shown).astype(np.float32)}

    def play(self, actions: NDArray[Any]) -> Paid:
        distance = np.square(np.clip(actions, -1.0, 1.0) - self.now["target"]).sum(axis=1)
        return -distance.astype(np.float32), self.always(True), self.always(False)

    def begin(self, worlds: NDArray[np.bool_]) -> None:
        drawn = 2.0 * self.uniforms(2) - 1.0
        self.now["target"] = np.where(worlds[:, np.newaxis], drawn, self.now["target"])

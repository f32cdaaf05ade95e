"""Playing policies: closed-form figures, independence of worlds, ends of episodes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from journeyman.env.protocol import LaneSpec
from journeyman.errors import TrainingError
from journeyman.results import EvaluationResult
from journeyman.services.evaluation import evaluate, evaluation_seeds, world_seeds
from journeyman.settings.evaluation import EvaluationSettings
from support.signal_env import Constant, Player, SignalEnv

SETTINGS = EvaluationSettings(
    episodes=6,
    deterministic=True,
    social_stage="C1",
    confidence=0.95,
    bootstrap_resamples=200,
)
SEEDS = (11, 22, 33, 44, 55, 66)


class Guessing(Player):
    """Draws among the open actions; takes the first answer where it must not draw."""

    label = "guessing"

    def choose(
        self, obs: Mapping[str, np.ndarray], rng: np.random.Generator, deterministic: bool
    ) -> np.ndarray:
        open_actions = obs["action_mask"][:, 1]
        drawn = rng.integers(1, obs["action_mask"].shape[1], len(open_actions))
        return np.where(open_actions, 1 if deterministic else drawn, 0).astype(np.int64)


class UnequalEnv(SignalEnv):
    """Worlds whose episodes last differently long."""

    def __init__(self, lengths: Sequence[int], **options: Any) -> None:
        super().__init__(num_worlds=len(lengths), **options)
        self.length = np.array(lengths)  # type: ignore[assignment]


class BrokenEnv(UnequalEnv):
    """Says something not finite about one lane at one step."""

    def __init__(self, lane: int, at: int, part: str, **options: Any) -> None:
        super().__init__([4, 8], agents=2, **options)
        self.lane, self.at, self.part, self.steps = lane, at, part, 0

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        obs, rewards, terminated, truncated, info = super().step(actions)
        if self.steps == self.at:
            broken = rewards if self.part == "reward" else info[self.part]
            broken[self.lane] = np.nan
        self.steps += 1
        return obs, rewards, terminated, truncated, info


class LeavingEnv(SignalEnv):
    """Its last agent leaves after three steps of each episode and is idle until the next."""

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        gone = np.zeros(self.num_envs, np.bool_)
        gone[self.agents - 1 :: self.agents] = self._tick >= 3
        obs, rewards, terminated, truncated, info = super().step(actions)
        rewards[gone] = 0.0
        if gone.any():
            info["idle"] = gone
        return obs, rewards, terminated, truncated, info


class WalkEnv:
    """Three steps a world whose reward is the sum of what was done; counts no events."""

    event_names = ()
    reward_term_names = ()

    def __init__(self, worlds: int, **action_space: Any) -> None:
        self.num_envs = self.num_worlds = worlds
        self.lane_spec = LaneSpec(env_id="test/walk", feature_names=("step",), **action_space)
        self.done = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, ...]:
        self.done = 0
        return {"features": np.zeros((self.num_envs, 1), np.float32)}, {}

    def set_social_stage(self, stage: str) -> None:
        pass

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        assert actions.shape == (self.num_envs, *self.lane_spec.action_shape)
        self.done += 1
        over = np.full(self.num_envs, self.done % 3 == 0)
        info = {
            "world_over": over,
            "events": np.zeros((self.num_envs, 0), np.float32),
            "reward_terms": np.zeros((self.num_envs, 0), np.float32),
        }
        rewards = actions.reshape(self.num_envs, -1).sum(axis=1).astype(np.float32)
        obs = {"features": np.full((self.num_envs, 1), self.done, np.float32)}
        return obs, rewards, over, np.zeros_like(over), info


class Reciting(Player):
    """Plays given actions, one row a step, the same in every lane."""

    label = "reciting"

    def __init__(self, rows: list[list[float]], dtype: type) -> None:
        self.rows, self.dtype = rows, dtype

    def choose(
        self, obs: Mapping[str, np.ndarray], rng: np.random.Generator, deterministic: bool
    ) -> np.ndarray:
        row = np.array(self.rows[int(obs["features"][0, 0]) % len(self.rows)], self.dtype)
        return np.tile(row, (len(obs["features"]), 1))


def play(
    env: SignalEnv, policy: Any = None, seeds: Sequence[int] = SEEDS, **changes: Any
) -> EvaluationResult:
    return evaluate(
        env,
        env.demonstrator() if policy is None else policy,
        seeds=seeds,
        social_stage="C1",
        settings=SETTINGS.model_copy(update=changes),
        rng=np.random.default_rng(7),
    )


def unforced_share(seed: int, length: int, agents: int, forced: float) -> float:
    """Share of a world's agent-steps with a real choice, replayed from the world's stream."""
    stream = np.random.Generator(np.random.PCG64(seed))
    free = 0
    for _ in range(length):
        stream.integers(1, 4, agents)  # the signals
        free += int((stream.random(agents) >= forced).sum())
        stream.random(agents)  # the hazards
    return free / (length * agents)


def test_the_demonstrator_earns_the_share_of_steps_with_a_choice() -> None:
    # It answers every unforced step rightly (+1) and waits on forced ones (0), so a world's
    # return (a mean over agents) is length * its share of unforced agent-steps.
    env = SignalEnv(num_worlds=6, agents=2, length=20, forced=0.3)
    result = play(env)
    shares = [unforced_share(seed, 20, 2, 0.3) for seed in SEEDS]
    assert len(set(shares)) > 1
    assert result.episode_returns == pytest.approx([20 * share for share in shares], abs=1e-12)
    assert result.episode_return.mean == pytest.approx(20 * np.mean(shares))
    assert result.episode_return.low <= result.episode_return.mean <= result.episode_return.high
    assert result.episode_return.episodes == 6
    # Sorted six returns without the first and the last (a quarter of 6, rounded down, is 1).
    assert result.return_iqm == pytest.approx(20 * np.mean(sorted(shares)[1:-1]))
    # Each right answer is one event: 1000 * share a thousand agent-ticks.
    assert result.rates == pytest.approx({"right": 1000 * np.mean(shares), "wrong": 0.0})
    assert result.activity_shares["wait"] == pytest.approx(1 - np.mean(shares))
    assert sum(result.activity_shares.values()) == pytest.approx(1.0)
    assert tuple(result.activity_shares) == env.lane_spec.action_names
    assert result.reward_terms == pytest.approx({"answer": 20 * np.mean(shares), "hazard": 0.0})
    assert result.episode_length_mean == 20.0
    assert (result.policy, result.env_id) == ("demonstrator", "test/signal")
    assert (result.social_stage, env.social_stage, result.seeds) == ("C1", "C1", SEEDS)
    assert result.duration_sec > 0.0


def test_without_forced_steps_every_figure_is_exact() -> None:
    # All 12 steps answered rightly by all: return 12 in every world, no spread, no wait.
    result = play(SignalEnv(num_worlds=6, agents=3, length=12, forced=0.0))
    interval = result.episode_return
    assert result.episode_returns == (12.0,) * 6
    assert (interval.low, interval.mean, interval.high) == (12.0, 12.0, 12.0)
    assert result.rates == {"right": 1000.0, "wrong": 0.0}


def test_a_lane_that_terminates_goes_on_within_its_world() -> None:
    # hazard = 1: every lane ends its life in every step, at -1, and answers rightly, at +1. The
    # world still lasts 10 steps, so the terms are 10 and -10 and the return is 0.
    result = play(SignalEnv(num_worlds=6, agents=2, length=10, forced=0.0, hazard=1.0))
    assert result.episode_length_mean == 10.0
    assert result.reward_terms == {"answer": 10.0, "hazard": -10.0}
    assert result.episode_returns == (0.0,) * 6


def test_steps_after_a_worlds_end_are_not_counted() -> None:
    # The demonstrator without forced steps earns 1 a step: a world's return is its own length,
    # although the short worlds are played on beside the long ones. 3 + 8 + 5 = 16 steps of 2.
    env = UnequalEnv([3, 8, 5], agents=2, forced=0.0)
    result = play(env, seeds=(1, 2, 3))
    assert result.episode_returns == (3.0, 8.0, 5.0)
    assert result.episode_length_mean == pytest.approx(16 / 3)
    assert result.rates == {"right": 1000.0, "wrong": 0.0}
    assert sum(result.activity_shares.values()) == pytest.approx(1.0)
    assert result.reward_terms["answer"] == pytest.approx(16 / 3)


def test_idle_steps_count_nowhere() -> None:
    # Two agents in worlds of 10 steps; the second is there for 3. Both answer every step they
    # have a choice in (no forced ones): returns (10 + 3) / 2, of 13 agent-ticks 13 right.
    result = play(LeavingEnv(num_worlds=6, agents=2, length=10, forced=0.0))
    assert result.episode_returns == (6.5,) * 6
    assert result.episode_length_mean == 10.0
    assert result.rates == {"right": 1000.0, "wrong": 0.0}
    assert sum(result.activity_shares.values()) == pytest.approx(1.0)
    assert result.reward_terms["answer"] == 6.5


def test_an_episodes_length_counts_the_steps_in_which_anyone_acts() -> None:
    # The only agent leaves after 3 of 10 steps.
    result = play(LeavingEnv(num_worlds=6, agents=1, length=10, forced=0.0))
    assert (result.episode_length_mean, result.episode_return.mean) == (3.0, 3.0)


def test_a_broken_number_of_an_idle_lane_does_not_matter() -> None:
    class Broken(LeavingEnv):
        def step(self, actions: np.ndarray) -> tuple[Any, ...]:
            outcome = super().step(actions)
            if "idle" in outcome[4]:
                outcome[4]["events"][outcome[4]["idle"]] = np.nan
            return outcome

    assert play(Broken(num_worlds=6, length=10, forced=0.0)).episode_returns == (6.5,) * 6


def test_shares_of_multi_discrete_actions_are_per_component() -> None:
    # Component one is 0, 1, 1 in the three steps, component two is 2, 2, 0.
    env: Any = WalkEnv(
        2,
        action_kind="multi_discrete",
        action_sizes=(2, 3),
        action_names=("legs_0", "legs_1", "arms_0", "arms_1", "arms_2"),
    )
    result = play(env, Reciting([[0, 2], [1, 2], [1, 0]], np.int64), seeds=(1, 2))
    thirds = {"legs_0": 1, "legs_1": 2, "arms_0": 1, "arms_1": 0, "arms_2": 2}
    assert result.activity_shares == pytest.approx({k: v / 3 for k, v in thirds.items()})
    assert (result.rates, result.reward_terms, result.action_means) == ({}, {}, {})
    assert result.episode_returns == (6.0, 6.0)  # 2 + 3 + 1


def test_continuous_actions_have_means_instead_of_shares() -> None:
    env: Any = WalkEnv(
        2,
        action_kind="box",
        action_low=(-1.0, -1.0),
        action_high=(1.0, 1.0),
        action_names=("left", "right"),
    )
    result = play(env, Reciting([[0.5, -1.0], [0.25, 0.0], [0.0, 0.25]], np.float32), seeds=(1, 2))
    assert result.activity_shares == {}
    assert result.action_means == {"left": 0.25, "right": -0.25}
    assert result.episode_returns == (0.0, 0.0)


def test_rates_are_per_agent_tick_that_counts() -> None:
    # Worlds of 2 and 30 steps: all agent-ticks count alike, (2 + 30) * 2 = 64 of them.
    env = UnequalEnv([2, 30], agents=2, forced=0.5)
    result = play(env, seeds=(5, 6))
    free = unforced_share(5, 2, 2, 0.5) * 4 + unforced_share(6, 30, 2, 0.5) * 60
    assert result.rates["right"] == pytest.approx(1000 * free / 64)


def test_a_worlds_return_does_not_depend_on_its_neighbours() -> None:
    def returns(seeds: Sequence[int]) -> dict[int, float]:
        result = play(SignalEnv(num_worlds=len(seeds)), Constant(), seeds=seeds)
        return dict(zip(seeds, result.episode_returns, strict=True))

    together = returns(SEEDS)
    assert len(set(together.values())) > 1
    reversed_order = returns(SEEDS[::-1])
    others = returns((SEEDS[2], 1234))
    assert reversed_order == together
    assert others[SEEDS[2]] == together[SEEDS[2]]


def test_the_same_generator_gives_the_same_bits() -> None:
    first = play(SignalEnv(num_worlds=6), Guessing(), deterministic=False)
    again = play(SignalEnv(num_worlds=6), Guessing(), deterministic=False)
    untimed = {"duration_sec": 0.0}
    assert first.model_copy(update=untimed) == again.model_copy(update=untimed)


def test_an_environment_used_before_starts_anew() -> None:
    env = SignalEnv(num_worlds=6)
    first = play(env, Constant())
    assert play(env, Constant()).episode_returns == first.episode_returns


def test_deterministic_play_is_asked_of_the_policy() -> None:
    sampled = play(SignalEnv(num_worlds=6), Guessing(), deterministic=False)
    fixed = play(SignalEnv(num_worlds=6), Guessing(), deterministic=True)
    constant = play(SignalEnv(num_worlds=6), Constant())
    assert fixed.episode_returns == constant.episode_returns
    assert sampled.episode_returns != fixed.episode_returns


def test_progress_counts_the_worlds_that_are_over() -> None:
    seen: list[tuple[int, int]] = []
    env = UnequalEnv([1, 3, 2], agents=2)
    evaluate(
        env,
        env.demonstrator(),
        seeds=(1, 2, 3),
        social_stage="OFF",
        settings=SETTINGS,
        rng=np.random.default_rng(0),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("part", ["reward", "events", "reward_terms"])
def test_a_number_that_is_not_finite_is_named(part: str) -> None:
    env = BrokenEnv(lane=3, at=5, part=part)
    with pytest.raises(TrainingError, match=rf"test/signal: {part} .* lane 3 at step 5"):
        play(env, seeds=(1, 2))


def test_what_happens_in_a_world_that_is_over_does_not_matter() -> None:
    # Lane 0 lies in the world of 4 steps, which is over before step 5.
    env = BrokenEnv(lane=0, at=5, part="reward", forced=0.0)
    assert play(env, seeds=(1, 2)).episode_returns == (4.0, 8.0)


def test_seeds_and_worlds_must_match() -> None:
    with pytest.raises(ValueError, match="6 seeds need as many worlds, got 4"):
        play(SignalEnv(num_worlds=4))


@pytest.mark.parametrize("generator_seed", [*range(8), 2**31 - 1, 2**63])
def test_evaluation_seeds_are_fixed_distinct_and_prolonged(generator_seed: int) -> None:
    seeds = evaluation_seeds(generator_seed, 5000)
    assert len(set(seeds)) == 5000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert evaluation_seeds(generator_seed, 100) == seeds[:100]
    assert evaluation_seeds(generator_seed + 1, 100) != seeds[:100]


@pytest.mark.parametrize("generator_seed", range(8))
def test_no_seed_comes_twice_in_the_whole_list(generator_seed: int) -> None:
    # An odd step visits all residues of a power of two; an even one skips half of them. The
    # seeds are twice that number plus the domain, so the step shows in two neighbours.
    first, second = world_seeds(generator_seed, "promotion", start=0, count=2)
    assert ((second - first) // 2) % 2 == 1
    assert first % 2 == second % 2 == 1


def test_domains_never_share_a_seed() -> None:
    evaluation = set(evaluation_seeds(1, 20_000))
    for generator_seed in (1, 2):
        promotion = world_seeds(generator_seed, "promotion", start=0, count=20_000)
        assert evaluation.isdisjoint(promotion)


def test_seeds_are_numbered() -> None:
    whole = world_seeds(3, "promotion", start=0, count=50)
    assert world_seeds(3, "promotion", start=20, count=10) == whole[20:30]
    last = 2**30 - 1
    assert world_seeds(3, "promotion", start=last, count=1)[0] not in whole
    with pytest.raises(ValueError, match="has 1073741824 world seeds"):
        world_seeds(3, "promotion", start=last, count=2)

"""Playing a policy to measure it: one world a seed, all worlds at once, each to its own end.

Legend: W worlds, L lanes (L = W * A agents, lane = w * A + a), N actions, E event kinds,
R reward terms, D components of an action.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneEnv, StepInfo
from journeyman.errors import TrainingError
from journeyman.policies.protocol import Policy
from journeyman.results import EvaluationResult
from journeyman.services.statistics import interquartile_mean, mean_interval
from journeyman.settings.evaluation import EvaluationSettings

SeedDomain = Literal["evaluation", "promotion"]
_DOMAINS: tuple[SeedDomain, ...] = ("evaluation", "promotion")
_SEEDS_PER_DOMAIN = 1 << 30


def world_seeds(
    generator_seed: int, domain: SeedDomain, *, start: int, count: int
) -> tuple[int, ...]:
    """Returns world seeds number ``start`` to ``start + count - 1`` of a domain, 31 bits each.

    Seed number i is ``2 * ((offset + i * stride) mod 2**30) + domain``, with offset and odd
    stride drawn from the generator seed: a permutation, so that no two numbers share a seed, and
    the lowest bit keeps the domains apart whatever their generator seeds. (Neighbouring seeds
    give unrelated worlds: NumPy's ``SeedSequence`` hashes them.)

    Raises:
        ValueError: if the domain has no such seeds left (it has 2**30).
    """
    if start < 0 or count < 0 or start + count > _SEEDS_PER_DOMAIN:
        raise ValueError(
            f"domain {domain} has {_SEEDS_PER_DOMAIN} world seeds, "
            f"asked for {count} from number {start} on"
        )
    number = _DOMAINS.index(domain)
    sequence = np.random.SeedSequence(generator_seed, spawn_key=(number,))
    offset, stride = (int(word) for word in sequence.generate_state(2, np.uint64))
    numbers = range(start, start + count)
    return tuple(2 * ((offset + i * (stride | 1)) % _SEEDS_PER_DOMAIN) + number for i in numbers)


def evaluation_seeds(generator_seed: int, episodes: int) -> tuple[int, ...]:
    """Returns the fixed world seeds of a run's evaluations: distinct, in [0, 2**31).

    More episodes prolong the same list.
    """
    return world_seeds(generator_seed, "evaluation", start=0, count=episodes)


class _Tally:
    """What the worlds have added up to so far; worlds that are over add nothing more.

    Nor do idle steps: whoever's step was none did nothing and was not there.
    """

    def __init__(self, env: LaneEnv) -> None:
        lanes, spec = env.num_envs, env.lane_spec
        self.agents = lanes // env.num_worlds
        self.playing_W = np.ones(env.num_worlds, np.bool_)
        self.length_W = np.zeros(env.num_worlds, np.int64)
        self.agent_ticks = 0
        self.return_L = np.zeros(lanes, np.float64)
        self.events_LE = np.zeros((lanes, len(env.event_names)), np.float64)
        self.terms_LR = np.zeros((lanes, len(env.reward_term_names)), np.float64)
        self.kind = spec.action_kind
        sizes = spec.action_sizes or (len(spec.action_names),)
        # Where the choices of each component begin among all of them; of one component, 0.
        self.first_choice_D = np.cumsum([0, *sizes[:-1]])
        self.actions_N = np.zeros(len(spec.action_names), np.float64)

    def acting(self, info: StepInfo) -> NDArray[np.bool_]:
        """Returns (L,) bool: lanes of worlds that are playing whose step was not idle."""
        playing_L = np.repeat(self.playing_W, self.agents)
        return playing_L & ~info["idle"] if "idle" in info else playing_L

    def add(self, actions: NDArray[Any], rewards_L: NDArray[np.float32], info: StepInfo) -> None:
        """Adds one step of the worlds that are playing; the step that ends a world counts."""
        acting_L = self.acting(info)
        acting_L1 = acting_L[:, np.newaxis]
        np.add(self.return_L, rewards_L, out=self.return_L, where=acting_L)
        np.add(self.events_LE, info["events"], out=self.events_LE, where=acting_L1)
        np.add(self.terms_LR, info["reward_terms"], out=self.terms_LR, where=acting_L1)
        if self.kind == "box":
            self.actions_N += actions[acting_L].sum(axis=0, dtype=np.float64)
        else:
            chosen = actions[acting_L].reshape(-1, len(self.first_choice_D)) + self.first_choice_D
            self.actions_N += np.bincount(chosen.ravel(), minlength=len(self.actions_N))
        self.agent_ticks += int(acting_L.sum())
        self.length_W += acting_L.reshape(len(self.playing_W), self.agents).any(axis=1)
        self.playing_W &= ~info["world_over"]


def evaluate(
    env: LaneEnv,
    policy: Policy,
    *,
    seeds: Sequence[int],
    social_stage: str,
    settings: EvaluationSettings,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Plays a policy in one world a seed until every world's first episode is over.

    A world's episode return is the mean over its agents of the rewards summed until the world
    is over; a lane that terminates on the way goes on, or is idle until then. Given a
    deterministic policy it depends on the world's seed alone, not on the worlds played beside
    it.

    Args:
        env: has one world a seed; it is reset.
        policy: who acts in every lane.
        seeds: one world seed an episode, at least two.
        social_stage: the stage rewards are counted under.
        settings: how actions are chosen, and level and resamples of the interval.
        rng: source of the policy's choices, then of the bootstrap.
        progress: called after every step with the number of worlds over and of all worlds.

    Raises:
        ValueError: if the environment has another number of worlds than there are seeds.
        TrainingError: if a reward, an event or a reward term that counts is not finite.
    """
    if env.num_worlds != len(seeds):
        raise ValueError(f"{len(seeds)} seeds need as many worlds, got {env.num_worlds}")
    began = time.monotonic()
    obs, _ = env.reset(seed=list(seeds))
    env.set_social_stage(social_stage)
    tally = _Tally(env)
    step = 0
    while tally.playing_W.any():
        actions = policy.act(obs, rng, deterministic=settings.deterministic).actions
        obs, rewards_L, _, _, info = env.step(actions)
        _refuse_non_finite(env, step, tally, rewards_L, info)
        tally.add(actions, rewards_L, info)
        step += 1
        if progress is not None:
            progress(env.num_worlds - int(tally.playing_W.sum()), env.num_worlds)
    return _result(env, policy, tally, seeds, social_stage, settings, rng, began)


def _refuse_non_finite(
    env: LaneEnv, step: int, tally: _Tally, rewards_L: NDArray[np.float32], info: StepInfo
) -> None:
    """Raises ``TrainingError`` naming environment, lane and step of a number not finite."""
    for name, array in (
        ("reward", rewards_L),
        ("events", info["events"]),
        ("reward_terms", info["reward_terms"]),
    ):
        finite = np.isfinite(array)
        if finite.all():
            continue
        broken_L = ~finite if finite.ndim == 1 else ~finite.all(axis=1)
        broken_L &= tally.acting(info)
        if broken_L.any():
            raise TrainingError(
                f"{env.lane_spec.env_id}: {name} is not finite in lane "
                f"{int(np.argmax(broken_L))} at step {step} of an evaluation"
            )


def _result(
    env: LaneEnv,
    policy: Policy,
    tally: _Tally,
    seeds: Sequence[int],
    social_stage: str,
    settings: EvaluationSettings,
    rng: np.random.Generator,
    began: float,
) -> EvaluationResult:
    returns_W = tally.return_L.reshape(env.num_worlds, tally.agents).mean(axis=1)
    rates_E = 1000.0 * tally.events_LE.sum(axis=0) / tally.agent_ticks
    per_choice = dict(
        zip(env.lane_spec.action_names, (tally.actions_N / tally.agent_ticks).tolist(), strict=True)
    )
    continuous = tally.kind == "box"
    terms_R = tally.terms_LR.mean(axis=0)
    return EvaluationResult(
        policy=policy.label,
        env_id=env.lane_spec.env_id,
        social_stage=social_stage,
        seeds=tuple(int(seed) for seed in seeds),
        episode_returns=tuple(returns_W.tolist()),
        episode_return=mean_interval(
            returns_W,
            confidence=settings.confidence,
            resamples=settings.bootstrap_resamples,
            rng=rng,
        ),
        return_iqm=interquartile_mean(returns_W),
        episode_length_mean=float(tally.length_W.mean()),
        rates=dict(zip(env.event_names, rates_E.tolist(), strict=True)),
        activity_shares={} if continuous else per_choice,
        action_means=per_choice if continuous else {},
        reward_terms=dict(zip(env.reward_term_names, terms_R.tolist(), strict=True)),
        duration_sec=time.monotonic() - began,
    )

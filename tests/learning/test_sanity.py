"""Each sanity environment is solved, and is not solved without the one detail it asks for.

The bounds have room: seeds 0 to 4 all stay at least the following away from them: bandit .02 and
.06, delayed reward .04, doors 2 % and 2 %, values 2 %, coordination .04, target .02 and .1.
"""

from dataclasses import replace

import numpy as np
import pytest

from journeyman.learning.collector import Collector
from journeyman.learning.policy import initial_checkpoint, policy_from_checkpoint
from journeyman.learning.update import PracticeBatch
from journeyman.strategies.ppo import train_ppo
from support.sanity_envs import (
    Bandit,
    ContinuousTarget,
    Coordination,
    CutShort,
    DelayedReward,
    OpenDoors,
)
from support.training import SMALL, Surroundings, ppo_settings

SEED = 0
GAMMA = 0.9
SETTINGS = {
    "updates": 24,
    "worlds": 16,
    "rollout_ticks": 16,
    "epochs": 4,
    "minibatch_size": 64,
    "learning_rate": 3e-3,
    "gamma": GAMMA,
    "gae_lambda": 0.95,
    "entropy_coef": 0.0,
}
"""6 144 steps of one-agent worlds."""


@pytest.fixture
def learned(tmp_path):
    """Returns a function that practises in an environment and returns the player."""

    def practise(make, **changes):
        context = Surroundings(tmp_path, seed=SEED, env=make)
        start = initial_checkpoint(SMALL, context.lane_spec, context.seeds)
        outcome = train_ppo(context, start, ppo_settings(**{**SETTINGS, **changes}))
        return policy_from_checkpoint(outcome.checkpoint)

    return practise


def reward_of(player, env, steps=64):
    """Returns a lane's mean reward a step of the sampling policy, over 64 steps of 64 worlds."""
    obs, _ = env.reset(seed=99)
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(steps):
        obs, rewards, *_ = env.step(player.act(obs, rng).actions)
        total += float(rewards.mean())
    return total / steps


def altered(monkeypatch, owner, name, change):
    """Lets ``change`` replace what a function of the trainer returns."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(original(*args, **kwargs)))


class TestBandit:
    """Observations are paired with the actions taken on them."""

    def test_is_solved(self, learned):
        assert reward_of(learned(Bandit), Bandit(64)) > 0.97

    def test_is_not_solved_by_pairs_one_step_apart(self, learned, monkeypatch):
        def lagging(rollout):
            return replace(rollout, features=np.roll(rollout.features, 1, axis=0))

        altered(monkeypatch, Collector, "collect", lagging)
        # One arm of four is right, and what was learned says nothing about which.
        assert reward_of(learned(Bandit), Bandit(64)) < 0.35


class TestDelayedReward:
    """A reward is credited to the step before it, by discount and by the next state's value."""

    @pytest.mark.parametrize("gae_lambda", [0.0, 1.0])
    def test_is_solved(self, learned, gae_lambda):
        player = learned(DelayedReward, gae_lambda=gae_lambda)
        # An episode is two steps and brings 1.
        assert 2.0 * reward_of(player, DelayedReward(64)) > 0.95

    def test_is_not_solved_without_a_future(self, learned):
        player = learned(DelayedReward, gamma=0.0)
        assert 2.0 * reward_of(player, DelayedReward(64)) < DelayedReward.TAKEN + 0.05

    def test_is_not_solved_if_the_bootstrap_is_the_state_itself(self, learned, monkeypatch):
        def standing_still(rollout):
            return replace(rollout, next_values=rollout.values)

        altered(monkeypatch, Collector, "collect", standing_still)
        player = learned(DelayedReward, gae_lambda=0.0)
        assert 2.0 * reward_of(player, DelayedReward(64)) < DelayedReward.TAKEN + 0.05


class TestOpenDoors:
    """The mask is in the choice, and in the probabilities that the loss sees."""

    def test_is_solved(self, learned):
        env = OpenDoors(64)
        # Chance alone moves the mean of 4096 doors by .003.
        assert reward_of(learned(OpenDoors, updates=60), env) > 0.97 * env.perfect

    def test_is_not_solved_without_a_mask(self, learned):
        def unmasked(worlds):
            return OpenDoors(worlds, masked=False)

        env = unmasked(64)
        assert reward_of(learned(unmasked, updates=60), env) < env.blind + 0.05

    def test_is_not_solved_if_the_loss_does_not_see_the_mask(self, learned, monkeypatch):
        altered(monkeypatch, PracticeBatch, "of", lambda batch: replace(batch, bias=None))
        env = OpenDoors(64)
        assert reward_of(learned(OpenDoors, updates=60), env) < 0.94 * env.perfect


class TestCutShort:
    """A cut is no end: the value of what would have come is in the target."""

    def values(self, player):
        values = player.evaluate({"features": np.eye(2, dtype=np.float32)})[1]
        return values.tolist()

    def test_values_are_those_of_a_life_without_end(self, learned):
        # 1 / (1 - .9) = 10 in the hall, -1 + .9 * 10 = 8 at the entrance.
        assert self.values(learned(CutShort, updates=40)) == pytest.approx([8.0, 10.0], rel=0.03)

    def test_a_cut_taken_for_an_end_gives_the_value_of_three_steps(self, learned):
        player = learned(lambda worlds: CutShort(worlds, terminates=True), updates=40)
        entrance, hall = self.values(player)
        # The hall is worth 1.9 two steps before the end and 1 one step before: 1.45 in the mean.
        assert 1.0 < hall < 1.9
        assert entrance < 1.0

    def test_the_next_episodes_first_state_is_no_future(self, learned, monkeypatch):
        def of_the_next_episode(rollout):
            following = np.concatenate([rollout.values[1:], rollout.next_values[-1:]])
            return replace(rollout, next_values=following)

        altered(monkeypatch, Collector, "collect", of_the_next_episode)
        entrance, hall = self.values(learned(CutShort, updates=40))
        assert hall < 6.0
        assert entrance < 5.0


class TestCoordination:
    """One network plays both agents, and tells them apart by what they see."""

    def test_is_solved(self, learned):
        assert reward_of(learned(Coordination), Coordination(64)) > 0.95

    def test_is_not_solved_by_agents_that_do_not_know_their_roles(self, learned):
        def untold(worlds):
            return Coordination(worlds, told=False)

        # p (1 - p) is at most 1 / 4; chance moves the mean of 4096 episodes by .007.
        assert reward_of(learned(untold), untold(64)) < 0.3


class TestContinuousTarget:
    """The mean follows what is seen, and densities are those of what the policy drew."""

    def test_is_solved(self, learned):
        assert reward_of(learned(ContinuousTarget, updates=60), ContinuousTarget(64)) > -0.05

    def test_is_not_solved_if_the_target_is_hidden(self, learned):
        def hidden(worlds):
            return ContinuousTarget(worlds, shown=False)

        # Always the middle: each component is off by 1 / 3 in the mean square.
        assert reward_of(learned(hidden, updates=60), hidden(64)) < -0.6

    def test_is_not_solved_if_clipped_actions_are_taken_for_those_drawn(self, learned, monkeypatch):
        def clipped(rollout):
            return replace(rollout, actions=np.clip(rollout.actions, -1.0, 1.0))

        altered(monkeypatch, Collector, "collect", clipped)
        assert reward_of(learned(ContinuousTarget, updates=60), ContinuousTarget(64)) < -0.3

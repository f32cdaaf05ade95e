"""Nothing an agent sees tells the action it is about to take, as captures pair the two.

What is looked at are captures of ``services.rollout``, which training takes for what was seen and
done. A linear classifier finds nothing in what was seen before an action beyond what the state
implies of it; paired with what was seen *after* it, one step on, it finds it at once, which shows
that it can, and that a capture that paired them so would be caught.
"""

import numpy as np
import pytest

from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.policies.protocol import PolicyStep, unknown
from journeyman.policies.random import RandomPolicy
from journeyman.services.rollout import capture_rollout

WORLDS, TICKS, ACTIONS = 40, 60, 9


class Slipping:
    """The demonstrator, who does anything open instead in half of its choices."""

    label = "slipping"

    def __init__(self, env):
        self._player, self.meant = env.demonstrator(), []

    def act(self, obs, rng, *, deterministic=False):
        meant = self._player.act(obs, rng).actions
        self.meant.append(meant)
        mask, lanes = obs["action_mask"], len(meant)
        slips = np.argmax(rng.random(mask.shape) * mask, axis=1)
        actions = np.where(rng.random(lanes) < 0.5, slips, meant)
        return PolicyStep(actions, unknown(lanes), unknown(lanes))


def captured(settings, variant, player_of):
    """Returns a capture (L lanes of T ticks) and its player."""
    env = TownVectorEnv(settings(**{"observation.variant": variant}), num_worlds=WORLDS)
    player = player_of(env)
    return (
        capture_rollout(env, player, ticks=TICKS, seed=0, rng=np.random.default_rng(0)),
        player,
    )


def seen(capture, late):
    """Returns (N, D) what was seen at each of N recorded steps, or ``late`` steps after it."""
    arrays = (capture.features, capture.map, capture.action_mask)
    shifted = [array[:, late : TICKS - 1 + late] for array in arrays]
    flat = [array.reshape(-1, int(np.prod(array.shape[2:]))) for array in shifted]
    return np.concatenate([array.astype(np.float32) for array in flat], axis=1)


def steps(array):
    """Returns the (N, ...) steps that have another one after them."""
    return array[:, : TICKS - 1].reshape(-1, *array.shape[2:])


def accuracy(inputs, labels):
    """Held-out accuracy of ridge regression onto the one-hot choices, the largest one taken."""
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
    half = len(inputs) // 2
    targets = np.eye(ACTIONS, dtype=np.float32)[labels]
    train, held_out = inputs[:half], inputs[half:]
    gram = train.T @ train + 1.0 * np.eye(inputs.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, train.T @ targets[:half])
    return float(np.mean((held_out @ weights).argmax(axis=1) == labels[half:]))


@pytest.mark.parametrize("variant", ["hybrid", "full", "compact"])
def test_a_classifier_does_no_better_than_chance_on_a_random_players_capture(settings, variant):
    capture, _ = captured(settings, variant, lambda env: RandomPolicy(env.lane_spec))
    free = steps(capture.action_mask).sum(axis=1) == ACTIONS - 1  # all but release
    chosen = steps(capture.actions)[free]
    held_out = len(chosen) - len(chosen) // 2
    assert held_out > 4000
    # Eight open actions: chance is 1/8, with a standard error of sqrt(1/8 * 7/8 / n) < .0053.
    error = np.sqrt(0.125 * 0.875 / held_out)
    assert accuracy(seen(capture, late=0)[free], chosen) < 0.125 + 4 * error
    assert accuracy(seen(capture, late=1)[free], chosen) > 0.95


def permuted_within(groups, labels, rng):
    """Returns labels with those of each group drawn anew from the group's, in each half alone."""
    permuted = labels.copy()
    halves = np.arange(len(labels)) < len(labels) // 2
    for group in np.unique(groups):
        for half in (True, False):
            members = np.flatnonzero((groups == group) & (halves == half))
            permuted[members] = labels[rng.permutation(members)]
    return permuted


@pytest.mark.parametrize("variant", ["hybrid", "full", "compact"])
def test_of_the_demonstrators_actions_it_finds_what_the_state_implies_and_no_more(
    settings, variant
):
    capture, player = captured(settings, variant, Slipping)
    chosen, mask = steps(capture.actions), steps(capture.action_mask)
    meant = steps(np.stack(player.meant, axis=1))
    # All that a state implies of the action is what the demonstrator would do in it, and what is
    # open: among states alike in these, actions are as good as shuffled.
    state = np.concatenate([np.eye(ACTIONS, dtype=np.float32)[meant], mask], axis=1)
    groups = meant * 2**ACTIONS + mask @ (1 << np.arange(ACTIONS))
    shuffled = permuted_within(groups, chosen, np.random.default_rng(1))
    assert 0.2 < np.mean(shuffled != chosen) < 0.8
    found = {
        late: [
            accuracy(np.concatenate([seen(capture, late), state], axis=1), labels)
            for labels in (chosen, shuffled)
        ]
        for late in (0, 1)
    }
    # Both accuracies have a standard error of at most sqrt(1/4 / n), their difference of sqrt(2)
    # times that.
    error = np.sqrt(0.5 / (len(chosen) // 2))
    assert abs(found[0][0] - found[0][1]) < 4 * error
    assert found[0][0] > 0.5  # which is what the state implies
    assert found[1][0] > found[1][1] + 0.25  # a step late it sees what was done
    assert found[1][0] > 0.9


def flat(obs):
    arrays = [array.reshape(len(array), -1).astype(np.float32) for array in obs.values()]
    return np.concatenate(arrays, axis=1)


def test_what_is_seen_does_not_depend_on_what_comes_next(settings):
    """The observation of a state is the same whichever action is taken on it afterwards."""
    envs = [TownVectorEnv(settings(), num_worlds=2) for _ in range(2)]
    first, second = (flat(env.reset(seed=0)[0]) for env in envs)
    np.testing.assert_array_equal(first, second)
    for tick in range(20):
        shared = np.full(16, 1 + tick % 7)
        before = [flat(env.step(shared)[0]) for env in envs]
        np.testing.assert_array_equal(*before)
        states = [env.state() for env in envs]
        for env, state, action in zip(envs, states, (1, 5), strict=True):
            env.step(np.full(16, action))
            np.testing.assert_array_equal(flat(env.restore(state)), before[0])

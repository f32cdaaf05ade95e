"""What ends practice, and what it goes on from."""

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.errors import NotFiniteError, TrainingError, UserError
from journeyman.strategies.ppo import train_ppo
from support.signal_env import SignalEnv
from support.training import Surroundings, ppo_settings, practised, untrained


class Poisoned(SignalEnv):
    """From a step on, pays rewards that are not numbers, a few times."""

    def __init__(self, *, at, times, **options):
        super().__init__(**options)
        self.at, self.times, self.steps = at, times, 0

    def step(self, actions):
        obs, rewards, *rest = super().step(actions)
        self.steps += 1
        if self.steps >= self.at and self.times > 0:
            self.times -= 1
            rewards = rewards + np.float32(np.nan)
        return obs, rewards, *rest


def poisoned(times):
    # Rollouts have 8 steps: step 24 is the last of the third.
    return lambda worlds: Poisoned(num_worlds=worlds, at=24, times=times)


def test_a_nan_ends_the_run_and_names_the_update(tmp_path):
    with pytest.raises(TrainingError, match=r"update 3: rewards not finite"):
        practised(tmp_path, env=poisoned(1))


def test_a_rollback_goes_on_from_the_last_good_update_at_half_the_step(tmp_path):
    settings = ppo_settings(on_nan="rollback")
    context, outcome = practised(tmp_path, settings=settings, env=poisoned(2))
    # The environment fails twice, so the third attempt at update 3 runs at a quarter.
    assert [m["lr"] for m in context.emissions.of("ppo")] == [3e-3, 3e-3, 7.5e-4, 7.5e-4]
    assert outcome.result.updates == 4
    _, smooth = practised(tmp_path, settings=ppo_settings(updates=2))
    _, same = practised(
        tmp_path,
        settings=ppo_settings(updates=2, on_nan="rollback"),
    )
    assert same.checkpoint.digest() == smooth.checkpoint.digest()


@pytest.mark.parametrize("every", [1, 50])
def test_a_nan_leaves_the_state_of_the_update_before(tmp_path, every):
    context = Surroundings(tmp_path, env=poisoned(1), checkpoint_every=every)
    with pytest.raises(TrainingError, match="update 3"):
        train_ppo(context, untrained(context), ppo_settings())
    latest = load_checkpoint(tmp_path / "checkpoints" / "latest.safetensors")
    assert latest.state["counters"]["ppo_updates"] == 2
    _, two = practised(tmp_path / "two", settings=ppo_settings(updates=2))
    assert latest.digest("policy") == two.checkpoint.digest("policy")


def test_three_rollbacks_are_the_limit(tmp_path):
    with pytest.raises(TrainingError, match=r"update 3: rewards.*; 3 rollbacks did not help"):
        practised(tmp_path, settings=ppo_settings(on_nan="rollback"), env=poisoned(10**6))


class Breaking(SignalEnv):
    """Raises an error of its own on a step."""

    def __init__(self, *, at, **options):
        super().__init__(**options)
        self.at, self.steps = at, 0

    def step(self, actions):
        self.steps += 1
        if self.steps == self.at:
            raise ZeroDivisionError("the wheel came off")
        return super().step(actions)


@pytest.mark.parametrize("on_nan", ["raise", "rollback"])
def test_an_environment_that_breaks_is_no_reason_to_roll_back(tmp_path, on_nan):
    # Rollouts have 8 steps: step 20 is the fourth of the third. A second try would not break.
    context = Surroundings(
        tmp_path, env=lambda worlds: Breaking(num_worlds=worlds, at=20), checkpoint_every=1
    )
    said = r"^update 3: environment test/signal failed on step 3 of .*ZeroDivisionError: the wheel"
    with pytest.raises(TrainingError, match=said) as caught:
        train_ppo(context, untrained(context), ppo_settings(updates=9, on_nan=on_nan))
    assert not isinstance(caught.value, NotFiniteError)
    latest = load_checkpoint(tmp_path / "checkpoints" / "latest.safetensors")
    assert latest.state["counters"]["ppo_updates"] == 2
    assert latest.digest() == context.saved[-1].digest()
    # And whole: practice goes on from it.
    mended, _ = practised(tmp_path / "mended", latest, settings=ppo_settings(updates=9))
    assert mended.emissions.of("ppo")[0]["updates"] == 3


def test_weights_learned_without_whitening_are_not_practised_with_it(tmp_path):
    _, outcome = practised(tmp_path, settings=ppo_settings(updates=1))
    with pytest.raises(UserError, match="trained without feature statistics"):
        practised(tmp_path, outcome.checkpoint, settings=ppo_settings(normalize_features=True))


def test_a_policy_of_another_environment_is_refused(tmp_path):
    start = untrained(Surroundings(tmp_path))
    with pytest.raises(UserError, match="actions: expected"):
        practised(tmp_path, start, env=lambda worlds: SignalEnv(num_worlds=worlds, signals=5))

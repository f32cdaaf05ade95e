"""Prior and guides change what they say, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from journeyman.checkpoint import load_checkpoint
from journeyman.errors import UserError
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.collector import Collector
from journeyman.learning.gae import Advantages
from journeyman.learning.guides import Guide, require_episode_limit
from journeyman.learning.normalization import Normalizer
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.prior import prior_of, with_prior
from journeyman.seeding import SeedPlan
from journeyman.settings.anneal import GuideSettings
from journeyman.strategies.bc import train_bc
from journeyman.strategies.ppo import UNLED, train_ppo
from journeyman.strategies.ppo_guidance import Leading
from support.signal_env import Answering, SignalEnv
from support.training import (
    SMALL,
    Surroundings,
    bc_settings,
    ppo_settings,
    signal_demonstrations,
)


def blend(ratio: Any) -> Leading:
    return Leading(guide=GuideSettings(kind="blend", ratio=ratio))


@pytest.fixture
def imitated(tmp_path: Path) -> Any:
    """A policy that has imitated, with its prior; made once for a test."""
    context = Surroundings(tmp_path, demonstrations=signal_demonstrations())
    start = initial_checkpoint(SMALL, context.lane_spec, context.seeds)
    return with_prior(train_bc(context, start, bc_settings()).checkpoint)


def practised(tmp_path: Path, start: Any, leading: Leading, **changes: Any) -> Any:
    context = Surroundings(tmp_path, checkpoint_every=2)
    outcome = train_ppo(context, start, ppo_settings(**changes), leading=leading)
    return outcome, context


def collector(env: SignalEnv, ticks: int) -> Collector:
    checkpoint = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(3))
    network = network_from_checkpoint(checkpoint, torch.device("cpu"))
    made = Collector(env, network, Normalizer(None, None), ticks=ticks)
    made.begin(env.reset(seed=5)[0])
    return made


def guide(kind: Any, ratio: float, limit: int | None = None) -> Guide:
    return Guide(
        player=Answering(),
        kind=kind,
        ratio=ratio,
        rng=np.random.default_rng(11),
        episode_limit=limit,
    )


def test_a_guide_of_ratio_0_is_bit_for_bit_no_guide(tmp_path: Path, imitated: Any) -> None:
    # A ramp from 0 to 0 is refused by the settings; an update whose ratio is 0 is what counts.
    alone, _ = practised(tmp_path, imitated, UNLED, updates=1)
    ramp = blend({"start": 0.0, "end": 1.0})
    led, _ = practised(tmp_path, imitated, ramp, updates=1)
    assert led.checkpoint.digest("policy") == alone.checkpoint.digest("policy")
    assert led.checkpoint.state["generators"] == alone.checkpoint.state["generators"]


def test_a_guide_changes_what_is_learned(tmp_path: Path, imitated: Any) -> None:
    alone, _ = practised(tmp_path, imitated, UNLED)
    led, context = practised(tmp_path, imitated, blend(0.5))
    assert led.checkpoint.digest("policy") != alone.checkpoint.digest("policy")
    ratios = [update["anneal_guide_ratio"] for update in context.emissions.of("ppo")]
    # 64 steps an update, each guided with probability 1/2: 6 deviations are 6 / 16
    assert np.abs(np.array(ratios) - 0.5).max() < 6 / 16


def test_the_demonstrators_action_is_recorded_where_it_acts() -> None:
    env = SignalEnv(num_worlds=8)
    rollout = collector(env, 16).collect(np.random.default_rng(0), guide=guide("blend", 0.5))
    assert rollout.guided is not None
    shown = {
        "features": rollout.features.reshape(-1, 4),
        "action_mask": rollout.mask.reshape(-1, 4),
    }
    right = Answering().act(shown, np.random.default_rng(0)).actions.reshape(16, 16)
    guided = rollout.guided
    assert (rollout.actions[guided] == right[guided]).all()
    # the untrained policy answers 3 signals near chance on the others
    assert (rollout.actions[~guided] == right[~guided]).mean() < 0.8
    # 256 draws of 1/2: 6 deviations are 6 x 1/32
    assert abs(guided.mean() - 0.5) < 6 / 32


def test_a_prefix_acts_the_first_share_of_each_episode_in_every_lane() -> None:
    # episodes of 20 steps, ratio .3: steps 0 to 5 of each, in 50 steps of a lane from its start
    env = SignalEnv(num_worlds=2, length=20)
    rollout = collector(env, 50).collect(np.random.default_rng(0), guide=guide("prefix", 0.3, 20))
    assert rollout.guided is not None
    for lane in range(env.num_envs):
        assert np.flatnonzero(rollout.guided[:, lane]).tolist() == [
            *range(6),
            *range(20, 26),
            *range(40, 46),
        ]


def test_a_prefix_needs_to_know_how_long_an_episode_is() -> None:
    with pytest.raises(UserError, match=r"endless.*set env\.max_episode_steps"):
        require_episode_limit(None, "endless")
    assert require_episode_limit(20, "signal") == 20


def test_guided_steps_have_no_weight_in_the_policys_loss_and_teach_the_critic() -> None:
    env = SignalEnv(num_worlds=4)
    rollout = collector(env, 8).collect(np.random.default_rng(0), guide=guide("blend", 0.5))
    assert rollout.guided is not None
    column = np.ones_like(rollout.rewards)
    batch = PracticeBatch.of(rollout, Advantages(column, column), torch.device("cpu"))
    assert len(batch) == rollout.rewards.size
    assert torch.equal(batch.columns[4], torch.from_numpy(~rollout.guided.ravel()).float())


def test_the_prior_is_the_policy_imitation_left_and_stays_it(tmp_path: Path, imitated: Any) -> None:
    led, _ = practised(tmp_path, imitated, Leading(kl_weight=0.5))
    before, after = prior_of(imitated), prior_of(led.checkpoint)
    obs, _ = SignalEnv(num_worlds=4).reset(seed=1)
    assert before is not None
    assert after is not None
    assert np.array_equal(before.outputs(obs), after.outputs(obs))
    policy = NumpyActorCritic.from_checkpoint(imitated)
    assert np.array_equal(before.outputs(obs), policy.outputs(obs))
    trained = NumpyActorCritic.from_checkpoint(led.checkpoint)
    assert not np.array_equal(after.outputs(obs), trained.outputs(obs))


def test_a_large_kl_weight_keeps_the_policy_at_the_prior(tmp_path: Path, imitated: Any) -> None:
    far, near = (
        practised(tmp_path, imitated, Leading(kl_weight=weight), updates=12)[1].emissions.of("ppo")[
            -1
        ]["kl_to_prior"]
        for weight in (1e-6, 100.0)
    )
    assert near < far / 10


def test_a_kl_weight_of_nearly_0_is_measured_and_changes_nothing(
    tmp_path: Path, imitated: Any
) -> None:
    alone, _ = practised(tmp_path, imitated, UNLED, updates=1, epochs=1)
    led, context = practised(tmp_path, imitated, Leading(kl_weight=1e-30), updates=1, epochs=1)
    # Without a prior the step is made without torch's graph: the same gradients but for rounding.
    weights = alone.checkpoint.part("policy")
    for name, array in led.checkpoint.part("policy").items():
        np.testing.assert_allclose(array, weights[name], rtol=0, atol=1e-5)
    (update,) = context.emissions.of("ppo")
    assert update["anneal_kl_weight"] == 1e-30


def test_without_a_prior_there_is_nothing_to_keep_to(tmp_path: Path) -> None:
    context = Surroundings(tmp_path)
    start = initial_checkpoint(SMALL, context.lane_spec, context.seeds)
    with pytest.raises(UserError, match="the policy has no prior"):
        train_ppo(context, start, ppo_settings(), leading=Leading(kl_weight=0.5))


def test_critic_warmup_leaves_the_policys_logits_as_they_are(tmp_path: Path, imitated: Any) -> None:
    led, _ = practised(tmp_path, imitated, Leading(kl_weight=0.5), updates=3, critic_warmup=3)
    obs, _ = SignalEnv(num_worlds=4).reset(seed=1)
    before = NumpyActorCritic.from_checkpoint(imitated).evaluate(obs)
    after = NumpyActorCritic.from_checkpoint(led.checkpoint).evaluate(obs)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


def test_critic_warmup_leaves_what_the_policy_sees_as_it_is(tmp_path: Path) -> None:
    """Whitening is part of the policy: statistics wait until it learns itself."""
    whitened = ppo_settings(normalize_features=True)
    shown = signal_demonstrations()
    taught = Surroundings(tmp_path / "bc", demonstrations=shown, ppo=whitened)
    start = initial_checkpoint(SMALL, taught.lane_spec, taught.seeds)
    imitated = train_bc(taught, start, bc_settings()).checkpoint
    obs, _ = SignalEnv(num_worlds=4).reset(seed=1)
    before = NumpyActorCritic.from_checkpoint(imitated).outputs(obs)
    for updates, alike in ((3, True), (4, False)):
        settings = ppo_settings(normalize_features=True, updates=updates, critic_warmup=3)
        context = Surroundings(tmp_path / str(updates))
        led = train_ppo(context, imitated, settings).checkpoint
        after = NumpyActorCritic.from_checkpoint(led).outputs(obs)
        assert np.array_equal(before, after) is alike


def test_an_untrained_policys_warm_up_gathers_the_first_statistics(tmp_path: Path) -> None:
    context = Surroundings(tmp_path)
    start = initial_checkpoint(SMALL, context.lane_spec, context.seeds)
    settings = ppo_settings(normalize_features=True, updates=2, critic_warmup=2)
    led = train_ppo(context, start, settings).checkpoint
    # of the first rollout: what the second adds would move an imitated policy
    assert led.part("normalizer")["feature_count"] == 64


def test_a_prior_that_pulls_is_no_loss_of_practice(tmp_path: Path, imitated: Any) -> None:
    led, context = practised(tmp_path, imitated, Leading(kl_weight=50.0), updates=1, epochs=8)
    (update,) = context.emissions.of("ppo")
    pull = 50.0 * update["kl_to_prior"]
    assert pull > 1e-3
    assert led.result.loss_total_mean == pytest.approx(update["loss_total"] - pull, abs=1e-6)


def test_the_policys_entropy_is_measured_where_a_guide_acted_too(
    tmp_path: Path, imitated: Any
) -> None:
    _, alone = practised(tmp_path, imitated, UNLED, updates=1, epochs=1)
    _, led = practised(tmp_path, imitated, blend({"start": 1.0, "end": 0.5}), updates=1, epochs=1)
    (free,), (guided,) = (context.emissions.of("ppo") for context in (alone, led))
    assert guided["anneal_guide_ratio"] == 1.0
    assert guided["loss_entropy"] == 0.0  # none of these samples is practised on
    assert guided["batch_entropy_mean"] == pytest.approx(free["batch_entropy_mean"], rel=0.5)


def test_a_led_stage_goes_on_in_the_middle_bit_for_bit(tmp_path: Path, imitated: Any) -> None:
    leading = Leading(kl_weight=0.5, guide=GuideSettings(kind="blend", ratio=0.5))
    whole, context = practised(tmp_path, imitated, leading, updates=4)
    middle = load_checkpoint(context.run_dir / "checkpoints" / "latest.safetensors")
    again, _ = practised(tmp_path / "again", middle, leading, updates=4)
    assert again.checkpoint.digest() == whole.checkpoint.digest()

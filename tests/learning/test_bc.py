import numpy as np
import pytest
import torch

from journeyman.errors import TrainingError, UserError
from journeyman.learning.bc import class_weights, rarity_weights, train_epoch
from journeyman.learning.demonstrations import (
    DemonstrationTensors,
    check_demonstrations,
    split_rows,
)
from journeyman.learning.optimizers import adamw
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint, weights
from journeyman.seeding import SeedPlan
from support.training import SMALL, bc_settings, signal_demonstrations

CPU = torch.device("cpu")


def tensors(demonstrations):
    rows = np.arange(len(demonstrations))
    return DemonstrationTensors.from_rows(demonstrations, rows, needs_map=False, device=CPU)


def untrained(demonstrations):
    start = initial_checkpoint(SMALL, demonstrations.lane_spec, SeedPlan(0))
    return network_from_checkpoint(start, CPU)


def test_what_is_held_out_is_whole_worlds_and_the_same_every_time():
    shown = signal_demonstrations(worlds=8)
    train, held_out = split_rows(shown, 0.25, 11)
    assert sorted([*train, *held_out]) == list(range(len(shown)))
    worlds = shown.groups[shown.trajectory_ids]
    assert not set(worlds[train]) & set(worlds[held_out])
    assert len(set(worlds[held_out])) == 2  # a quarter of 8
    assert split_rows(shown, 0.25, 11)[1].tolist() == held_out.tolist()
    assert split_rows(shown, 0.25, 12)[1].tolist() != held_out.tolist()


def test_one_world_cannot_be_split():
    with pytest.raises(UserError, match="at least two worlds"):
        split_rows(signal_demonstrations(worlds=1), 0.25, 0)


def test_demonstrations_of_forbidden_actions_are_refused():
    shown = signal_demonstrations(worlds=2)
    assert check_demonstrations(shown, shown.lane_spec) is None
    answers = np.full(len(shown), 1)
    forced = int((~shown.action_mask[:, 1]).sum())
    wrong = signal_demonstrations(worlds=2, actions=answers.astype(np.int64))
    with pytest.raises(UserError, match=f"{forced} actions are forbidden by their own mask"):
        check_demonstrations(wrong, shown.lane_spec)


def test_an_epoch_teaches_the_actor_and_leaves_the_critic_alone():
    shown = signal_demonstrations()
    network, samples = untrained(shown), tensors(shown)
    before = weights(network)
    figures = [
        train_epoch(
            network,
            adamw(network, 1e-2, 0.01),
            samples,
            bc_settings(),
            rng=np.random.default_rng(epoch),
            epoch=epoch + 1,
        )
        for epoch in range(3)
    ]
    assert figures[0].loss > 2.0 * figures[2].loss
    assert figures[2].accuracy > 0.95
    after = weights(network)
    for name in before:
        same = before[name].tobytes() == after[name].tobytes()
        assert same is name.startswith(("critic.", "value_head.")), name


def test_a_nan_is_named_with_dataset_epoch_and_minibatch():
    shown = signal_demonstrations()
    network = untrained(shown)
    with torch.no_grad():
        network.policy_head.bias[0] = torch.nan
    with pytest.raises(TrainingError, match=r"loss is nan .*signal, epoch 4, minibatch 1"):
        train_epoch(
            network,
            adamw(network, 1e-2, 0.0),
            tensors(shown),
            bc_settings(),
            rng=np.random.default_rng(0),
            epoch=4,
        )


def test_class_weights_have_mean_one_and_favour_the_rare():
    # 3 of action 0, 1 of action 2, none of 1: 4 / (2 * 3) and 4 / (2 * 1).
    found = class_weights(np.array([0, 0, 2, 0]), 3)
    np.testing.assert_allclose(found, [2.0 / 3.0, 0.0, 2.0], rtol=1e-6)
    assert found[[0, 0, 2, 0]].mean() == pytest.approx(1.0)


def test_rarity_of_an_action_is_the_mean_over_its_components():
    # component 0: 3 of choice 0, 1 of 1: 4 / (2 * 3) and 4 / (2 * 1); component 1: 2 and 2: 1
    actions = np.array([[0, 1], [0, 0], [1, 1], [0, 0]])
    found = rarity_weights(actions, (2, 3))
    np.testing.assert_allclose(found, [5.0 / 6.0, 5.0 / 6.0, 1.5, 5.0 / 6.0], rtol=1e-6)
    assert found.mean() == pytest.approx(1.0)
    assert found.dtype == np.float32

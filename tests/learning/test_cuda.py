"""Learning on a GPU is what it is on the CPU, within rounding; skipped where there is none.

It takes seconds, downloads nothing, and needs little, as a machine with a GPU may have little:
pytest, numpy, torch, pydantic, PyYAML, filelock and safetensors; ``test_devices`` holds it to that.
Where the package is not installed and pytest has no plugins:

    PYTHONPATH=src:tests python -m pytest -q -c /dev/null --rootdir . --import-mode importlib \\
        tests/learning/test_cuda.py
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.checkpoint import load_checkpoint, save_checkpoint
from journeyman.errors import UserError
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.bc import train_epoch
from journeyman.learning.collector import Collector
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.devices import describe_device, resolve_device
from journeyman.learning.normalization import Normalizer
from journeyman.learning.optimizers import adam, adamw
from journeyman.learning.policy import (
    TorchPolicy,
    acting_player,
    initial_checkpoint,
    network_from_checkpoint,
    policy_from_checkpoint,
    weights,
)
from journeyman.learning.update import optimise
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.seeding import SeedPlan
from journeyman.settings.policy import PolicySettings
from journeyman.strategies.bc import train_bc
from journeyman.strategies.ppo import train_ppo
from support.signal_env import SignalEnv
from support.training import (
    SMALL,
    Surroundings,
    bc_settings,
    ppo_settings,
    signal_demonstrations,
    untrained,
)
from support.updates import COEFFICIENTS, CPU, advantages_of, rollout_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

CLOSE = {"rtol": 1e-3, "atol": 2e-4}
"""Of weights after a few steps: sums are added up in another order on each device."""


@pytest.fixture
def cuda() -> torch.device:
    return resolve_device("cuda")


class OnGPU(Surroundings):
    """A run whose settings say ``device: cuda``."""

    def __init__(self, *arguments, device="cuda", **options):
        super().__init__(*arguments, **options)
        self.settings.runtime.device = device


def test_auto_takes_the_gpu_and_says_which():
    assert resolve_device("auto").type == "cuda"
    assert torch.cuda.get_device_name(resolve_device("auto")) in describe_device()


def test_a_gpu_that_is_not_there_is_refused():
    count = torch.cuda.device_count()
    with pytest.raises(UserError, match=rf"cuda:{count + 7}.*has {count} CUDA devices"):
        resolve_device(f"cuda:{count + 7}")
    if count <= 7:
        with pytest.raises(UserError, match="cuda:7"):
            resolve_device("cuda:7")


@pytest.mark.parametrize("encoder", ["none", "flatten", "conv"])
def test_a_policy_acts_on_the_gpu_as_on_the_cpu(cuda, encoder):
    spec = replace(
        SignalEnv(num_worlds=1).lane_spec,
        map_shape=(3, 5, 6),
        map_channels=("r", "g", "b"),
        map_scale=1.0 / 255.0,
    )
    settings = PolicySettings.model_validate(
        {**SMALL.model_dump(), "map_encoder": encoder, "map_features": 16}
    )
    start = initial_checkpoint(settings, spec, SeedPlan(0))
    rng = np.random.default_rng(0)
    lanes = 64
    mask = rng.random((lanes, len(spec.action_names))) < 0.7
    mask[:, 0] = True
    obs = {
        "features": rng.normal(size=(lanes, len(spec.feature_names))).astype(np.float32),
        "map": rng.integers(0, 256, (lanes, 3, 5, 6)).astype(np.uint8),
        "action_mask": mask,
    }
    there, here = (policy_from_checkpoint(start, device=device) for device in (cuda, "cpu"))
    # Convolutions of a GPU round to 10 bits (TF32), by torch's default.
    near = {"rtol": 2e-2, "atol": 2e-3} if encoder == "conv" else {"rtol": 1e-3, "atol": 1e-4}
    for found, expected in zip(there.evaluate(obs), here.evaluate(obs), strict=True):
        assert np.abs(expected).max() > 4 * near["atol"]
        np.testing.assert_allclose(found, expected, **near)
    steps = [one.act(obs, np.random.default_rng(1)) for one in (there, here)]
    # A choice near a border between two actions may fall on either side of it.
    assert (steps[0].actions == steps[1].actions).mean() > 0.95
    assert mask[np.arange(lanes), steps[0].actions].all()
    network = network_from_checkpoint(start, cuda)
    assert isinstance(acting_player(network, spec), TorchPolicy)


def practised_on(device, **changes):
    """An update on the same rollout, played on the CPU: weights and figures."""
    network, rollout = rollout_of(SignalEnv(num_worlds=4, hazard=0.1), ticks=8)
    advantages = advantages_of(rollout)
    network = network.to(device)
    shown = signal_demonstrations(worlds=2, ticks=10)
    demonstrations = DemonstrationTensors.from_rows(
        shown, np.arange(len(shown)), needs_map=False, device=device
    )
    batch = PracticeBatch.of(rollout, advantages, device)
    coefficients = replace(COEFFICIENTS, **changes)
    figures = optimise(
        network,
        adam(network, 0.0, 1e-5),
        batch,
        ppo_settings(epochs=3),
        coefficients,
        minibatch_rng=np.random.default_rng(0),
        demonstrations=demonstrations if coefficients.bc_weight else None,
        demonstration_rng=np.random.default_rng(1),
    )
    return weights(network), figures


@pytest.mark.parametrize("changes", [{}, {"bc_weight": 0.5}, {"critic_only": True}])
def test_an_update_of_ppo_is_that_of_the_cpu(cuda, changes):
    (there, figures), (here, expected) = (practised_on(d, **changes) for d in (cuda, CPU))
    before, _ = rollout_of(SignalEnv(num_worlds=4, hazard=0.1), ticks=8)
    moved = {name: np.abs(here[name] - old).max() for name, old in weights(before).items()}
    assert max(moved.values()) > 50 * CLOSE["atol"]
    for name, array in here.items():
        np.testing.assert_allclose(there[name], array, err_msg=name, **CLOSE)
    assert figures.table.shape == expected.table.shape
    np.testing.assert_allclose(figures.table, expected.table, rtol=2e-2, atol=2e-3)


def test_figures_wait_for_the_gpu_once_an_epoch(cuda, monkeypatch):
    waits, cpu = [], torch.Tensor.cpu

    def noted(self):
        waits.append(self.shape)
        return cpu(self)

    def forbidden(self):
        raise AssertionError("a figure was asked for in the middle of an epoch")

    monkeypatch.setattr(torch.Tensor, "cpu", noted)
    monkeypatch.setattr(torch.Tensor, "item", forbidden)
    network, rollout = rollout_of(SignalEnv(num_worlds=4), ticks=8)
    batch = PracticeBatch.of(rollout, advantages_of(rollout), cuda)
    network = network.to(cuda)
    optimizer, rng = adam(network, 0.0, 1e-5), np.random.default_rng(0)
    waits.clear()
    settings = ppo_settings(epochs=3, minibatch_size=8)
    optimise(network, optimizer, batch, settings, COEFFICIENTS, minibatch_rng=rng)
    assert len(waits) == 3


def test_an_epoch_of_imitation_is_that_of_the_cpu(cuda):
    shown, found = signal_demonstrations(), {}
    start = initial_checkpoint(SMALL, shown.lane_spec, SeedPlan(0))
    for device in (cuda, CPU):
        network = network_from_checkpoint(start, device)
        samples = DemonstrationTensors.from_rows(
            shown, np.arange(len(shown)), needs_map=False, device=device
        )
        settings = bc_settings(max_grad_norm=1.0, label_smoothing=0.05)
        optimizer = adamw(network, settings.learning_rate, 0.01)
        rng = np.random.default_rng(0)
        figures = [
            train_epoch(network, optimizer, samples, settings, rng=rng, epoch=epoch)
            for epoch in (1, 2)
        ]
        found[device.type] = weights(network), figures
    (there, figures), (here, expected) = found["cuda"], found["cpu"]
    for name, array in here.items():
        np.testing.assert_allclose(there[name], array, err_msg=name, **CLOSE)
    for one, other in zip(figures, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.02)
    assert expected[1].loss < 0.9 * expected[0].loss


def test_a_rollout_is_played_by_the_gpus_network(cuda):
    start = initial_checkpoint(SMALL, SignalEnv(num_worlds=1).lane_spec, SeedPlan(0))
    rollouts = []
    for device in (cuda, CPU):
        env = SignalEnv(num_worlds=4)
        network = network_from_checkpoint(start, device)
        collector = Collector(env, network, Normalizer(None, None), ticks=8)
        collector.begin(env.reset(seed=1)[0])
        rollouts.append(collector.collect(np.random.default_rng(0)))
    there, here = rollouts
    np.testing.assert_allclose(there.values[0], here.values[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(there.log_probs[0], here.log_probs[0], rtol=1e-3, atol=1e-4)


def saved_after(tmp_path, updates, start=None):
    """Practises on the GPU after imitating there; returns the checkpoint."""
    if start is None:
        apprentice = OnGPU(tmp_path, demonstrations=signal_demonstrations())
        taught = train_bc(apprentice, untrained(apprentice), bc_settings())
        assert taught.result.device.startswith("cuda")
        start = taught.checkpoint
    outcome = train_ppo(OnGPU(tmp_path), start, ppo_settings(updates=updates))
    assert outcome.result.device.startswith("cuda")
    return outcome.checkpoint


def test_what_is_resumed_on_the_same_gpu_ends_with_the_same_bits(tmp_path):
    whole = saved_after(tmp_path, 4)
    assert saved_after(tmp_path, 4).digest() == whole.digest(), "the GPU itself is not repeatable"
    save_checkpoint(saved_after(tmp_path, 2), tmp_path / "half.safetensors")
    half = load_checkpoint(tmp_path / "half.safetensors")
    assert saved_after(tmp_path, 2, half).digest() == whole.digest()


def test_a_checkpoint_of_the_gpu_goes_on_on_the_cpu(tmp_path):
    half = saved_after(tmp_path, 2)
    there = saved_after(tmp_path, 1, half)
    outcome = train_ppo(OnGPU(tmp_path, device="cpu"), half, ppo_settings(updates=1))
    assert outcome.result.device == "cpu"
    # One update of the same rollout, if no choice fell on the other side of a border.
    here, there = (c.part("policy") for c in (outcome.checkpoint, there))
    for name, array in here.items():
        np.testing.assert_allclose(there[name], array, err_msg=name, rtol=1e-2, atol=5e-3)
    player = NumpyActorCritic.from_checkpoint(half)
    obs, _ = SignalEnv(num_worlds=4).reset(seed=0)
    logits, values = policy_from_checkpoint(half, device="cuda").evaluate(obs)
    expected = player.evaluate(obs)
    np.testing.assert_allclose(logits, expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(values, expected[1], rtol=1e-3, atol=1e-4)


def test_auto_trains_on_the_gpu(tmp_path):
    context = OnGPU(tmp_path, device="auto")
    outcome = train_ppo(context, untrained(context), ppo_settings(updates=1))
    assert outcome.result.device.startswith("cuda")

"""Networks to and from checkpoints, and the player made of one.

Legend: L lanes, F features, N outputs of the policy.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.network import ActorCritic, build_network, initialise
from journeyman.learning.tensors import as_tensor
from journeyman.policies.actions import choose
from journeyman.policies.numpy_actor_critic import (
    NumpyActorCritic,
    Whitening,
    check_observation,
    stored_spec,
)
from journeyman.policies.protocol import Observation, Policy, PolicyStep, unknown
from journeyman.seeding import SeedPlan
from journeyman.settings.policy import PolicySettings

NEW_COUNTERS = {"env_steps": 0, "bc_epochs": 0, "ppo_updates": 0, "ppo_epochs": 0}


def initial_checkpoint(
    policy_settings: PolicySettings, lane_spec: LaneSpec, seeds: SeedPlan
) -> Checkpoint:
    """Returns an untrained policy: the checkpoint every run starts from.

    The weights depend on the settings, the spec and ``seeds.integer("init")`` alone.
    """
    network = build_network(lane_spec, policy_settings)
    initialise(network, torch.Generator().manual_seed(seeds.integer("init")))
    arrays = {f"policy/{name}": array for name, array in weights(network).items()}
    state = {
        "spec": lane_spec.to_json(),
        "policy_settings": policy_settings.model_dump(mode="json"),
        "generators": seeds.state(),
        "counters": dict(NEW_COUNTERS),
    }
    return Checkpoint(arrays, state)


def weights(network: ActorCritic) -> dict[str, NDArray[np.float32]]:
    """Returns copies of all weights, float32, as a checkpoint's owner ``policy`` has them."""
    return {
        name: parameter.detach().cpu().numpy().copy()
        for name, parameter in network.named_parameters()
    }


def load_weights(network: ActorCritic, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copies weights into a network, in place.

    Raises:
        UserError: naming weights that are missing, unexpected or of another shape.
    """
    parameters = dict(network.named_parameters())
    wrong = sorted(parameters.keys() ^ arrays.keys())
    wrong += [
        name
        for name in sorted(parameters.keys() & arrays.keys())
        if tuple(parameters[name].shape) != arrays[name].shape
    ]
    if wrong:
        raise UserError(
            f"the checkpoint's weights do not fit the policy settings: {', '.join(wrong[:5])}"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(np.array(arrays[name])))


def network_from_checkpoint(checkpoint: Checkpoint, device: torch.device) -> ActorCritic:
    """Builds the checkpoint's network on a device.

    Raises:
        UserError: if the checkpoint holds no policy, or weights of another network.
    """
    spec, settings = stored_spec(checkpoint)
    network = build_network(spec, settings)
    load_weights(network, checkpoint.part("policy"))
    return network.to(device)


def require_same_spec(checkpoint: Checkpoint, lane_spec: LaneSpec) -> None:
    """Refuses to train a policy on an environment it was not built for.

    Raises:
        UserError: one sentence for each difference.
    """
    spec, _ = stored_spec(checkpoint)
    problems = spec.mismatches(lane_spec)
    if problems:
        raise UserError([f"the checkpoint's policy does not fit the data: {p}" for p in problems])


class TorchPolicy:
    """A network as a player; satisfies ``policies.protocol.Policy``.

    Attributes:
        label: name in results.
        lane_spec: what the policy sees and can do.
    """

    def __init__(
        self,
        network: ActorCritic,
        lane_spec: LaneSpec,
        *,
        label: str,
        whitening: Whitening | None = None,
        with_values: bool = True,
    ) -> None:
        self.label, self.lane_spec = label, lane_spec
        self._network, self._whitening = network, whitening
        self._with_values = with_values

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses an action for each lane, by ``policies.actions.choose``."""
        outputs, values = self._answers(obs, with_values=self._with_values)
        mask = obs["action_mask"] if self.lane_spec.has_action_mask else None
        actions, log_probs = choose(
            self.lane_spec,
            outputs,
            self._network.log_std_array(),
            mask,
            rng,
            deterministic=deterministic,
        )
        return PolicyStep(actions, log_probs, values)

    def evaluate(self, obs: Observation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the outputs (L, N) and values (L,), float32.

        The outputs are unmasked logits, or the means of a box action.

        Raises:
            UserError: if the observation has other shapes than the policy was built for.
        """
        return self._answers(obs, with_values=True)

    def _answers(
        self, obs: Observation, *, with_values: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        check_observation(obs, self.lane_spec, needs_map=self._network.needs_map)
        features = obs["features"]
        if self._whitening is not None:
            features = self._whitening(features)
        device = self._network.device
        grid = as_tensor(obs["map"], device) if self._network.needs_map else None
        with torch.inference_mode():
            if not with_values:
                outputs = self._network.outputs(as_tensor(features, device), grid)
                return outputs.cpu().numpy(), unknown(len(features))
            outputs, values = self._network(as_tensor(features, device), grid)
        return outputs.cpu().numpy(), values.cpu().numpy()


def acting_player(network: ActorCritic, lane_spec: LaneSpec) -> Policy:
    """Returns a player of a network's policy as it is now, for features that are whitened already.

    It estimates no values. On the CPU it reads the network's own weights by NumPy, whose calls
    cost a third of torch's; convolutions are torch's there, too. It is to be made anew when
    weights were stepped.
    """
    if network.device.type != "cpu" or network.settings.map_encoder == "conv":
        return TorchPolicy(network, lane_spec, label="policy", with_values=False)
    arrays = {name: weight.detach().numpy() for name, weight in network.named_parameters()}
    return NumpyActorCritic(arrays, lane_spec, network.settings, label="policy", with_values=False)


def policy_from_checkpoint(
    checkpoint: Checkpoint, label: str = "policy", device: torch.device | str = "cpu"
) -> TorchPolicy:
    """Builds the player of a checkpoint's policy, feature statistics included and frozen.

    Raises:
        UserError: if the checkpoint holds no policy.
    """
    spec, _ = stored_spec(checkpoint)
    network = network_from_checkpoint(checkpoint, torch.device(device))
    whitening = Whitening.from_part(checkpoint.part("normalizer"))
    return TorchPolicy(network, spec, label=label, whitening=whitening)

import pytest

from journeyman.learning.batch import PracticeBatch
from journeyman.learning.network import ActorCritic
from support.signal_env import SignalEnv
from support.updates import CPU, advantages_of, rollout_of


@pytest.fixture
def practised() -> tuple[ActorCritic, PracticeBatch]:
    """A network, and a rollout of 8 steps by 8 lanes that it has just played."""
    network, rollout = rollout_of(SignalEnv(num_worlds=4, hazard=0.1), ticks=8)
    return network, PracticeBatch.of(rollout, advantages_of(rollout), CPU)

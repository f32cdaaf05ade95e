"""The prior: the policy as imitation left it, kept in checkpoints beside the one that practises."""

from journeyman.checkpoint import Checkpoint
from journeyman.policies.numpy_actor_critic import NumpyActorCritic, Whitening, stored_spec

_WEIGHTS, _STATISTICS = "prior", "prior_normalizer"


def with_prior(checkpoint: Checkpoint) -> Checkpoint:
    """Returns a checkpoint whose prior is a copy of its policy as it is now."""
    statistics = {
        name: array
        for name, array in checkpoint.part("normalizer").items()
        if name.startswith("feature_")
    }
    return checkpoint.with_parts({_WEIGHTS: checkpoint.part("policy"), _STATISTICS: statistics})


def prior_of(checkpoint: Checkpoint) -> NumpyActorCritic | None:
    """Returns a checkpoint's prior as a player, with feature statistics of its own; None: none.

    Raises:
        UserError: if the checkpoint holds no policy.
    """
    weights = checkpoint.part(_WEIGHTS)
    if not weights:
        return None
    spec, settings = stored_spec(checkpoint)
    whitening = Whitening.from_part(checkpoint.part(_STATISTICS))
    return NumpyActorCritic(
        weights, spec, settings, label="prior", whitening=whitening, with_values=False
    )

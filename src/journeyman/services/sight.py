"""What of a lane's observation a network would not read, known before any work."""

from journeyman.env.protocol import LaneSpec
from journeyman.settings.policy import PolicySettings

_READ_BY = "policy=conv or policy=default"


def sight_problems(policy: PolicySettings, spec: LaneSpec) -> list[str]:
    """Says, in a sentence, that the network would have no inputs at all."""
    if spec.map_shape is None or spec.feature_names or policy.map_encoder != "none":
        return []
    return [
        f"policy.map_encoder: none reads no picture, and {spec.env_id} shows nothing else "
        f"({_size(spec.map_shape)}); use {_READ_BY}"
    ]


def overlooked(policy: PolicySettings, spec: LaneSpec) -> str | None:
    """Says that the network reads the features and leaves a picture out; None: it does not."""
    if spec.map_shape is None or not spec.feature_names or policy.map_encoder != "none":
        return None
    return (
        f"{spec.env_id}: the policy sees its {len(spec.feature_names)} features and not its "
        f"picture ({_size(spec.map_shape)}), which {_READ_BY} reads"
    )


def _size(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))

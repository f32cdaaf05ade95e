"""``strategy=evaluate``: play a policy on the fixed evaluation seeds."""

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.results import EvaluationResult
from journeyman.services.players import build_player
from journeyman.settings.strategy import EvaluateSettings
from journeyman.strategies.base import emit_evaluation, play


class EvaluateStrategy:
    """Plays ``settings.strategy.policy``."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> EvaluationResult:
        """Returns the played figures with their interval."""
        settings = context.settings.strategy
        assert isinstance(settings, EvaluateSettings)
        policy = None  # play() takes the demonstrator of its own environment
        if settings.policy != "demonstrator":
            policy = build_player(settings.policy, context.lane_spec)
        result = play(context, policy)
        emit_evaluation(context, result, 0)
        return result

"""``strategy=replay``: read a dataset batch by batch and summarise it."""

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.results import ReplaySummary
from journeyman.services.dataset import run_replay_dataset
from journeyman.settings.strategy import ReplayStrategySettings


class ReplayStrategy:
    """Replays ``settings.dataset``."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> ReplaySummary:
        """Returns what the dataset holds, a summary a batch."""
        settings = context.settings.strategy
        assert isinstance(settings, ReplayStrategySettings)
        context.progress.begin("replay")
        dataset = context.load_replay_dataset()
        result = run_replay_dataset(
            dataset, epochs=settings.epochs, rng=context.seeds["minibatch"], progress=context.watch
        )
        context.progress.end(f"{result.transitions:,} transitions, {result.batches} batches")
        context.emit("replay", result.baseline_metrics, result.transitions)
        return result

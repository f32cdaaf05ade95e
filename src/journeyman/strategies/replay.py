"""``strategy=replay``: read a dataset batch by batch and summarise it."""

import itertools

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.results import ReplaySummary
from journeyman.services.dataset import run_replay
from journeyman.settings.strategy import ReplayStrategySettings


class ReplayStrategy:
    """Replays ``settings.dataset``."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> ReplaySummary:
        """Returns what the dataset holds, a summary a batch."""
        settings = context.settings.strategy
        assert isinstance(settings, ReplayStrategySettings)
        context.progress.begin("replay")
        dataset = context.replay_dataset()
        read = itertools.count(1)
        result = run_replay(
            dataset,
            rng=context.seeds["minibatch"],
            epochs=settings.epochs,
            on_batch=lambda _: context.watch(next(read), settings.epochs * len(dataset)),
        )
        context.progress.end(f"{result.transitions:,} transitions, {result.batches} batches")
        context.emit("replay", result.baseline_metrics, result.transitions)
        return result

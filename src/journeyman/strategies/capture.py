"""``strategy=capture``: play a policy and keep its trajectories."""

import time

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.results import CaptureResult
from journeyman.services.demonstrations import play_and_keep
from journeyman.services.rollout import capture_result, save_capture
from journeyman.settings.strategy import CaptureSettings


class CaptureStrategy:
    """Captures into the run folder's ``capture/``."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> CaptureResult:
        """Plays ``ticks`` steps of ``worlds`` worlds and, if asked to, saves them."""
        settings = context.settings.strategy
        assert isinstance(settings, CaptureSettings)
        began = time.monotonic()
        stage = context.settings.social_reward.stage_at(0)
        context.progress.begin(f"capture {settings.policy}")
        capture = play_and_keep(
            lambda worlds: context.make_env(worlds, stage),
            settings.policy,
            worlds=settings.worlds,
            ticks=settings.ticks,
            seed=context.seeds.integer("env"),
            rng=context.seeds["demonstrator"],
            watch=context.watch,
        )
        manifest = None
        if settings.save:
            manifest = save_capture(
                capture,
                context.run_dir / "capture",
                prefix=settings.prefix,
                metadata={"seed": context.settings.seed, "social_stage": stage},
                progress=context.watch,
            )
        context.progress.end(f"{capture.samples:,} transitions")
        result = capture_result(capture, manifest, time.monotonic() - began)
        context.emit("capture", result.metrics, result.samples)
        return result

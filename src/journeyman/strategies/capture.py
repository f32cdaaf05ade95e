"""``strategy=capture``: play a policy and keep its trajectories."""

import time

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.results import CaptureResult
from journeyman.services.players import build_player
from journeyman.services.rollout import capture_result, capture_rollout, save_capture
from journeyman.settings.strategy import CaptureSettings


class CaptureStrategy:
    """Captures into the run folder's ``capture/``."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> CaptureResult:
        """Plays ``ticks`` steps of ``worlds`` worlds and, if asked to, saves them."""
        settings = context.settings.strategy
        assert isinstance(settings, CaptureSettings)
        began = time.monotonic()
        stage = context.settings.social_reward.stage_at(0)
        env = context.make_env(settings.worlds, stage)
        try:
            policy = build_player(settings.policy, env)
            context.progress.begin(f"capture {policy.label}")
            capture = capture_rollout(
                env,
                policy,
                ticks=settings.ticks,
                seed=context.seeds.integer("env"),
                rng=context.seeds["demonstrator"],
                progress=context.watch,
            )
        finally:
            env.close()
        manifest = None
        if settings.save:
            manifest = save_capture(
                capture,
                context.run_dir / "capture",
                prefix=settings.prefix,
                metadata={"seed": context.settings.seed, "social_stage": stage},
            )
        context.progress.end(f"{settings.ticks * env.num_envs:,} transitions")
        result = capture_result(capture, manifest, time.monotonic() - began)
        context.emit("capture", result.metrics, result.samples)
        return result

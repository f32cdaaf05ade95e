"""``strategy=evaluate``: play a policy on the fixed evaluation seeds, and film it if asked."""

from dataclasses import replace
from typing import cast

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.env.protocol import LaneEnv
from journeyman.reporting.film import Camera, require_writer, write_film
from journeyman.results import EvaluationResult
from journeyman.services.players import build_player
from journeyman.settings.strategy import EvaluateSettings
from journeyman.strategies.base import emit_evaluation, play


class EvaluateStrategy:
    """Plays ``settings.strategy.policy``."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> EvaluationResult:
        """Returns the played figures with their interval.

        With ``settings.strategy.render`` the first evaluation world is filmed while it is
        played: ``evaluation.gif`` or ``.mp4`` in the run folder, and among the run's artifacts.

        Raises:
            UserError: if the policy does not fit, or if no such film can be made here.
        """
        settings = context.settings.strategy
        assert isinstance(settings, EvaluateSettings)
        policy = None  # play() takes the demonstrator of its own environment
        if settings.policy != "demonstrator":
            policy = build_player(settings.policy, context.lane_spec)
        if settings.render == "off":
            result = play(context, policy)
        else:
            require_writer(settings.render)
            cameras: list[Camera] = []
            result = play(_filmed(context, settings, cameras), policy)
            path = context.run_dir / f"evaluation.{settings.render}"
            write_film(cameras[0].frames, path, fps=settings.render_fps)
            context.tracker.artifact(path)
        emit_evaluation(context, result, 0)
        return result


def _filmed(
    context: TrainingContext, settings: EvaluateSettings, cameras: list[Camera]
) -> TrainingContext:
    """Returns the context with a camera on each environment that is built from it."""

    def environment(worlds: int, social_stage: str) -> LaneEnv:
        env = context.make_env(worlds, social_stage)
        cameras.append(Camera(env, ticks=settings.render_ticks, every=settings.render_every))
        return cast(LaneEnv, cameras[-1])

    return replace(context, environment=environment)

"""What strategies share: their shape, and how they have policies played and promoted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.context import TrainingContext
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.protocol import Policy
from journeyman.policies.random import RandomPolicy
from journeyman.results import (
    BCTrainingResult,
    EvaluationResult,
    PPOTrainingResult,
    PromotionSnapshot,
    RunResult,
    Verdict,
)
from journeyman.services import promotion
from journeyman.services.evaluation import evaluate, evaluation_seeds
from journeyman.services.players import has_demonstrator
from journeyman.settings.promotion import PromotionGateSettings, PromotionOffSettings


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """What training leaves behind: its figures, and the state the next stage starts from."""

    result: BCTrainingResult | PPOTrainingResult
    checkpoint: Checkpoint


class Strategy(Protocol):
    """One thing a run can do. Stateless: everything it needs comes in, nothing stays."""

    def run(self, context: TrainingContext, start: Checkpoint | None) -> RunResult:
        """Does it, emitting metrics on the way.

        Args:
            context: the run's surroundings.
            start: the state to go on from; None: an untrained policy.
        """
        ...


def player(checkpoint: Checkpoint, label: str) -> Policy:
    """Returns the policy in a checkpoint as it is played: frozen, without torch or critic."""
    return NumpyActorCritic.from_checkpoint(checkpoint, label, with_values=False)


def play(
    context: TrainingContext, policy: Policy | None, *, seeds: Sequence[int] | None = None
) -> EvaluationResult:
    """Plays a policy under the run's one evaluation stage.

    The generator behind its choices is made anew each time, so that the same weights on the
    same seeds give the same returns, and nothing else in the run depends on how often one plays.

    Args:
        context: the run's surroundings.
        policy: who plays; None: the environment's demonstrator.
        seeds: world seeds; None: the run's fixed evaluation seeds, the same for every policy.
    """
    settings = context.settings.evaluation
    if seeds is None:
        seeds = evaluation_seeds(context.seeds.integer("evaluation"), settings.episodes)
    env = context.make_env(len(seeds), settings.social_stage)
    try:
        chosen = env.demonstrator() if policy is None else policy
        context.progress.begin(f"play {chosen.label}")
        with context.spans.span("evaluate"):
            result = evaluate(
                env,
                chosen,
                seeds=seeds,
                social_stage=settings.social_stage,
                settings=settings,
                rng=evaluation_rng(context),
                progress=context.watch,
            )
    finally:
        env.close()
    interval = result.episode_return
    context.progress.end(f"return {interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]")
    return result


def play_demonstrator(context: TrainingContext) -> EvaluationResult | None:
    """Plays the environment's demonstrator on the run's evaluation seeds; None: it has none."""
    return play(context, None) if has_demonstrator(context.settings.env) else None


def evaluation_rng(context: TrainingContext) -> np.random.Generator:
    """Returns a new generator for play and bootstrap, the same for the whole run."""
    return np.random.default_rng(context.seeds.integer("evaluation"))


def steps_spent(checkpoint: Checkpoint) -> int:
    """Returns the environment steps (transitions of all lanes) behind a checkpoint."""
    return int(checkpoint.state["counters"]["env_steps"])


def training_words(training: BCTrainingResult | PPOTrainingResult) -> str:
    """Returns the figures of a training result that a reader looks at first."""
    if isinstance(training, BCTrainingResult):
        if training.val_decision_accuracy is None:
            error = training.val_mean_absolute_error
            return (
                f"{training.epochs} epochs, held-out explained variance "
                f"{training.gate_accuracy:.3f} (mean error {error:.3g})"
            )
        return (
            f"{training.epochs} epochs, held-out decisions {training.val_decision_accuracy:.3f} "
            f"(majority {training.majority_decision_accuracy:.3f})"
        )
    explained = training.last_update.get("explained_variance")
    return (
        f"{training.updates} updates, {training.transitions:,} steps, "
        f"kl {training.last_update['kl_divergence']:z.4f}"
        + ("" if explained is None else f", explained variance {explained:.2f}")
    )


def emit_baselines(
    context: TrainingContext, untrained: EvaluationResult, demonstrator: EvaluationResult | None
) -> None:
    """Emits what the curves are to be read against, on keys of their own.

    On ``eval/...`` the untrained policy would share step 0 with the imitated one, and its
    return would flatten all that is worth seeing.
    """
    metrics = {"untrained_return_mean": untrained.episode_return.mean}
    if demonstrator is not None:
        metrics["demonstrator_return_mean"] = demonstrator.episode_return.mean
    context.emit("baseline", metrics, 0)


def emit_evaluation(context: TrainingContext, evaluation: EvaluationResult, step: int) -> None:
    """Emits an evaluation as ``eval/...`` at the environment steps spent so far."""
    metrics = {
        "return_mean": evaluation.episode_return.mean,
        "return_low": evaluation.episode_return.low,
        "return_high": evaluation.episode_return.high,
        "return_iqm": evaluation.return_iqm,
    }
    metrics |= {f"rate/{name}": rate for name, rate in evaluation.rates.items()}
    metrics |= {f"share/{name}": share for name, share in evaluation.activity_shares.items()}
    metrics |= {f"reward/{name}": total for name, total in evaluation.reward_terms.items()}
    context.emit("eval", metrics, step)


def decide_promotion(
    context: TrainingContext, checkpoint: Checkpoint, status: Verdict
) -> PromotionSnapshot | None:
    """Plays the candidate against the champion on fresh seeds, as often as the gate asks.

    Without a champion it plays against the environment's demonstrator, and where there is none
    against chance.

    Returns:
        The promotion state after the last evaluation, or None where promotion is off. It stops
        at the first evaluation that fails: the streak is broken anyway. In a resumed run those
        played before it was killed count.
    """
    settings = context.settings.promotion
    if isinstance(settings, PromotionOffSettings):
        return None
    champion, release = _champion(context, settings)
    digest = checkpoint.digest("policy")
    allowed = promotion.allowed_increases(settings, context.settings.env)
    store = promotion.PromotionStore(context.run_dir)
    with store.exclusive():
        snapshot = store.load(required_passes=settings.required_passes, current_release=release)
        left = settings.evaluations
        if context.resumed is not None:
            left -= _counted(snapshot, digest, settings.evaluations)
        for _ in range(left):
            seeds, snapshot = promotion.draw_seeds(
                snapshot, context.seeds.integer("promotion"), settings.episodes
            )
            ours = play(context, player(checkpoint, "candidate"), seeds=seeds)
            theirs = play(context, champion, seeds=seeds)
            paired = promotion.compare(ours, theirs, context.settings.evaluation)
            evaluation = promotion.judge(
                paired,
                status,
                ours,
                theirs,
                settings,
                max_rate_increase=allowed,
                weights_digest=digest,
            )
            snapshot = promotion.advance(snapshot, evaluation, datetime.now(UTC))
            store.save(snapshot)
            if not evaluation.passed:
                break
    _emit_promotion(context, snapshot, steps_spent(checkpoint))
    return snapshot


def _counted(snapshot: PromotionSnapshot, digest: str, all_of_them: int) -> int:
    """Returns how many evaluations of these weights are over; a failed one was the last."""
    events = [event for event in snapshot.history if event.get("candidate") == digest]
    over = [event["passed"] for event in events if event["event"] == "evaluated"]
    return all_of_them if False in over else len(over)


def _champion(
    context: TrainingContext, settings: PromotionGateSettings
) -> tuple[Policy | None, str | None]:
    """Returns the reigning champion and its weights digest.

    Without one: None, which stands for the demonstrator, or chance where there is none; and None.
    """
    if settings.champion is None:
        absent = not has_demonstrator(context.settings.env)
        return RandomPolicy(context.lane_spec) if absent else None, None
    checkpoint = load_checkpoint(Path(settings.champion))
    return player(checkpoint, "champion"), checkpoint.digest("policy")


def _emit_promotion(context: TrainingContext, snapshot: PromotionSnapshot, step: int) -> None:
    last = snapshot.last_result
    assert last is not None
    context.emit(
        "promotion",
        {
            "pass_streak": snapshot.pass_streak,
            "candidate_ready": snapshot.candidate_ready,
            "passed": last.passed,
            "difference_mean": last.paired.difference.mean,
            "difference_low": last.paired.difference.low,
            "difference_high": last.paired.difference.high,
            "probability_of_improvement": last.paired.probability_of_improvement,
        },
        step,
    )
    context.tracker.tag({"promotion": snapshot.state, "promotion.bar": last.paired.opponent})

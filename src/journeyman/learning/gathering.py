"""What one update learns from: fresh play, recorded play, or both."""

from dataclasses import dataclass

import numpy as np

from journeyman.learning.batch import PracticeBatch
from journeyman.learning.gae import Advantages, generalised_advantages
from journeyman.learning.guides import Guide
from journeyman.learning.practice import Practice
from journeyman.learning.replay import Appraisal, RecordedPlay, Staleness, appraise
from journeyman.learning.rollout import Rollout
from journeyman.learning.telemetry import Learned
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.settings.strategy import PPOSettings
from journeyman.timing import Spans


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The samples of an update, and where they came from.

    Attributes:
        batch: what minibatches are dealt from.
        learned: rewards, values, advantages and returns of the same samples.
        ticks: steps of a lane, of the longest one where they differ.
        rollout: fresh play, or None.
        staleness: of recorded play, or None.
    """

    batch: PracticeBatch
    learned: Learned
    ticks: int
    rollout: Rollout | None = None
    staleness: Staleness | None = None

    @property
    def env_steps(self) -> int:
        """Transitions of the environment behind them."""
        return 0 if self.rollout is None else self.rollout.transitions

    def stale(self, settings: PPOSettings) -> str | None:
        """Returns why the recorded play is too old to be learned from; None: it is not."""
        if self.staleness is None:
            return None
        kl, share = self.staleness
        if kl > settings.max_replay_kl:
            return (
                f"the policy is {kl:.3g} nats a step away from the one that acted in "
                f"{self.batch.label} (max_replay_kl {settings.max_replay_kl:g})"
            )
        if share < settings.min_effective_sample_share:
            return (
                f"the probability ratios leave {share:.3g} effective samples of each in "
                f"{self.batch.label} (min_effective_sample_share "
                f"{settings.min_effective_sample_share:g})"
            )
        return None


def gather(
    practice: Practice,
    play: RecordedPlay | None,
    settings: PPOSettings,
    rng: np.random.Generator,
    spans: Spans,
    *,
    guide: Guide | None = None,
    prior: NumpyActorCritic | None = None,
    learn_statistics: bool = True,
) -> Gathered:
    """Plays a rollout where there are lanes, and appraises recorded play where there is such.

    Args:
        practice: the network, and the lanes it plays on, if any.
        play: recorded play with known log-probabilities, or None.
        settings: discounts.
        rng: source of the policy's choices.
        spans: told of the time spent: ``env``, ``act`` (all else of a rollout, the values
            included) and ``advantages``.
        guide: see ``Collector.collect``; fresh play only.
        prior: likewise.
        learn_statistics: likewise.

    Raises:
        NotFiniteError: a feature, reward or log-probability is not finite.
        TrainingError: the environment failed.
    """
    rollout = None
    if practice.collector is not None:
        with spans.span("act"):
            rollout = practice.collector.collect(
                rng, guide=guide, prior=prior, learn_statistics=learn_statistics
            )
            spans.add("env", rollout.env_seconds)
    with spans.span("advantages"):
        appraisal = None if play is None else _appraised(practice, play, settings)
        if rollout is None:
            if play is None or appraisal is None:
                raise ValueError("there are neither lanes to play on nor recorded play")
            return _recorded(play, appraisal)
        advantages = rollout_advantages(rollout, settings)
        batch = PracticeBatch.of(rollout, advantages, practice.network.device)
        learned, ticks = Learned.of(rollout, advantages), len(rollout.rewards)
        if play is None or appraisal is None:
            return Gathered(batch=batch, learned=learned, ticks=ticks, rollout=rollout)
        recorded = _recorded(play, appraisal)
        return Gathered(
            batch=batch.beside(recorded.batch),
            learned=Learned(
                *map(np.concatenate, zip(learned, recorded.learned, strict=True)),
            ),
            ticks=ticks,
            rollout=rollout,
            staleness=recorded.staleness,
        )


def rollout_advantages(rollout: Rollout, settings: PPOSettings) -> Advantages:
    """Returns a rollout's advantages by the settings' discounts."""
    return generalised_advantages(
        rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.terminated,
        rollout.truncated,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        idle_TL=rollout.idle,
    )


def _appraised(practice: Practice, play: RecordedPlay, settings: PPOSettings) -> Appraisal:
    return appraise(
        play,
        practice.network,
        practice.normalizer,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
    )


def _recorded(play: RecordedPlay, appraisal: Appraisal) -> Gathered:
    return Gathered(
        batch=appraisal.batch,
        learned=Learned(appraisal.rewards, appraisal.values, *appraisal.advantages),
        ticks=int(play.lengths.max()),
        staleness=appraisal.staleness,
    )

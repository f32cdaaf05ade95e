"""CartPole at its smallest, as overrides of a command line."""

_WORLD = (
    "env=gymnasium",
    "env.id=CartPole-v1",
    "policy=small",
    "evaluation.bootstrap_resamples=100",
)
CARTPOLE = (*_WORLD, "promotion=off", "evaluation.episodes=2")
DEMONSTRATED = (*_WORLD, "env.demonstrator=cartpole", "evaluation.episodes=3")
"""With someone to imitate; whether it is promoted is left to the test."""
PRACTICE = ("strategy=ppo", "strategy.worlds=2", "strategy.rollout_ticks=16", *CARTPOLE)
"""Without a number of updates: tests differ in how long they need a run."""

"""How fast behaviour cloning is beside imitation's, and beside a bare loop over tensors.

    python benchmarks/bc.py [--quick] [--json benchmarks/results/bc.json]

30 720 transitions of a demonstrator on CartPole-v1, a policy of 64 x 64, one thread: the epochs
of our whole run (the held-out samples judged at the end of each) against imitation's
``BC.train`` and against a loop that only shuffles, steps and discards (peers/bare_bc.py). The
sides take turns; a figure is the median over the rounds of ours over theirs in the same round;
``bc_over_bare_loop`` is the least of the three minibatch sizes. Peers are installed into the
user's cache folder at the first use.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from peers.sides import Side, announced, conclude, ratio, read_options, table

from journeyman.composition import compose_settings
from journeyman.data.storage import load_samples
from journeyman.orchestrator import Orchestrator

EPOCHS = {64: 1, 256: 2, 1024: 4}
"""Minibatch size -> passes over the transitions at a time."""


def captured(folder: Path) -> tuple[str, str]:
    """Returns the paths of a manifest of play, and of its observations and actions alone."""
    settings = compose_settings(
        ["env=gymnasium", "env.id=CartPole-v1", "env.demonstrator=cartpole", "tracking=none"]
    )
    Orchestrator(settings).capture_rollout(ticks=480, worlds=64, save_to=folder)
    (manifest,) = folder.glob("*manifest.json")
    played = [one for npz in sorted(folder.glob("*.npz")) for one in load_samples(npz)]
    pairs = folder / "pairs" / "pairs.npz"
    pairs.parent.mkdir()
    np.savez(
        pairs,
        features=np.concatenate([one.features for one in played]),
        actions=np.concatenate([one.actions for one in played]),
    )
    return str(manifest), str(pairs)


def main() -> None:
    """Measures, prints a table, and the figures in the last lines."""
    options = read_options(__doc__)
    rounds, scale = (2, 1) if options.quick else (9, 3)
    ours = Side("journeyman", "journeyman_bc.py")
    imitation = Side("imitation", "imitation_bc.py", "imitation")
    bare = Side("bare tensor loop", "bare_bc.py")
    sides = (ours, imitation, bare)
    header = announced()
    works = {size: f"minibatches of {size}" for size in EPOCHS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        manifest, pairs = captured(Path(folder))
        for side in sides:
            stack.enter_context(side)
        for warm in (True, *[False] * rounds):
            for size, work in works.items():
                for side in sides:
                    data = {"manifest": manifest} if side is ours else {"pairs": pairs}
                    epochs = 1 if warm else scale * EPOCHS[size]
                    request = {**data, "batch_size": size, "epochs": epochs}
                    if warm and size == max(EPOCHS):
                        side.ask(request)
                    elif not warm:
                        side.measure(work, request)
    names = list(works.values())
    rows = table(names, dict.fromkeys(names, sides), "samples/s")
    figures = {f"bc_{size}_over_imitation": ratio(ours, imitation, works[size]) for size in EPOCHS}
    figures["bc_over_bare_loop"] = min(ratio(ours, bare, work) for work in names)
    conclude(options.json, header, rows, figures)


if __name__ == "__main__":
    main()

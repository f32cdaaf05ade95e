"""Our behaviour cloning as a user runs it: a whole run of ``strategy=bc``, its epochs counted.

An epoch ends with the held-out samples being judged; that is part of its time.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from worker import serve

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator


def measure(manifest: str, batch_size: int, epochs: int) -> dict[str, Any]:
    """Trains for a number of epochs; returns the samples and the seconds they took."""
    settings = compose_settings(
        [
            "strategy=bc",
            f"strategy.batch_size={batch_size}",
            f"strategy.epochs={epochs}",
            "dataset=manifest",
            f"dataset.manifest={manifest}",
            "env=gymnasium",
            "env.id=CartPole-v1",
            "policy=small",
            "promotion=off",
            "tracking=none",
            "runtime.device=cpu",
            "evaluation.episodes=2",
            "evaluation.bootstrap_resamples=100",
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        result = Orchestrator(settings, run_dir=folder).run_bc().training
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    rates = [line["samples_per_sec"] for line in map(json.loads, lines) if line["group"] == "bc"]
    count = result.samples * len(rates)
    return {"count": count, "wall": sum(result.samples / rate for rate in rates)}


if __name__ == "__main__":
    serve(measure)

"""The least that behaviour cloning is: a loop over tensors, and nothing beside it.

No held-out samples, no accuracy, no clipping, no log, no masks; torch's own layers.
"""

import time
from typing import Any

import numpy as np
import torch
from torch import nn
from worker import serve


def measure(pairs: str, batch_size: int, epochs: int) -> dict[str, Any]:
    """Trains for a number of epochs; returns the samples and the seconds they took."""
    with np.load(pairs) as arrays:
        features = torch.from_numpy(arrays["features"])
        actions = torch.from_numpy(arrays["actions"])
    network = nn.Sequential(
        nn.Linear(features.shape[1], 64),
        nn.Tanh(),
        nn.Linear(64, 64),
        nn.Tanh(),
        nn.Linear(64, int(actions.max()) + 1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        for rows in torch.randperm(len(actions)).split(batch_size):
            loss = nn.functional.cross_entropy(network(features[rows]), actions[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"count": epochs * len(actions), "wall": wall, "cpu": cpu}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(measure)

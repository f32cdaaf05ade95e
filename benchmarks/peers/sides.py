"""The two sides of a benchmark: processes that answer requests, in virtual environments.

A peer's packages are installed once, into ``~/.cache/journeyman/benchmarks/peers-NAME``; ours
runs in the environment that runs the benchmark.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import torch
from circumstances import circumstances

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "journeyman/benchmarks"
# The very build that we run on: where ours has no CUDA, the peers' needs none.
TORCH = f"torch=={torch.__version__}"
PEERS = {
    "sb3": (TORCH, "stable-baselines3==2.9.2", "gymnasium>=1.1,<2"),
    # imitation's last release wants Stable-Baselines3 2.2 and Gymnasium 0.29.
    "imitation": (TORCH, "imitation==1.0.1", "numpy<2"),
}
OURS = ("journeyman", "torch", "numpy", "gymnasium", "numba")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def peer_python(name: str) -> str:
    """Returns the interpreter of a peer's environment, which is made if it is not there."""
    folder, wanted = CACHE / f"peers-{name}", "\n".join(PEERS[name])
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    if not installed.is_file() or installed.read_text() != wanted:
        print(f"installing {', '.join(PEERS[name])} into {folder}", flush=True)
        if not python.is_file():
            venv.create(folder, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", *PEERS[name]]
        subprocess.run(install, check=True, stdout=sys.stderr)
        installed.write_text(wanted)
    return str(python)


@dataclass(eq=False)
class Side:
    """A script of this folder that measures when asked to.

    Attributes:
        name: in the table.
        script: file name.
        peer: whose environment it runs in; None: ours.
        rates: counts a second of every measurement, by the work's name.
    """

    name: str
    script: str
    peer: str | None = None
    rates: dict[str, list[float]] = field(default_factory=dict)
    _process: "subprocess.Popen[str] | None" = None
    _said: "IO[str]" = field(init=False)

    def __enter__(self) -> Self:
        python = sys.executable if self.peer is None else peer_python(self.peer)
        self._said = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, HERE / self.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, **dict.fromkeys(THREADS, "1")},
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate()
        self._said.close()

    def ask(self, request: Mapping[str, Any]) -> float:
        """Returns the counts a second that a request's work was done at.

        Raises:
            RuntimeError: the script ended without an answer.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(dict(request)) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._said.seek(0)
            raise RuntimeError(f"{self.script} ended:\n{self._said.read()[-4000:]}")
        answer = json.loads(line)
        return float(answer["count"] / answer["wall"])

    def measure(self, work: str, request: Mapping[str, Any]) -> None:
        """Does the work once more."""
        self.rates.setdefault(work, []).append(self.ask(request))

    def median(self, work: str) -> float:
        """Returns the median rate at some work."""
        return statistics.median(self.rates[work])


def ratio(ours: Side, theirs: Side, work: str) -> float:
    """Returns the median, over the rounds, of ours over theirs in the same round."""
    pairs = zip(ours.rates[work], theirs.rates[work], strict=True)
    return statistics.median(mine / other for mine, other in pairs)


def announced() -> dict[str, Any]:
    """Prints and returns command, machine, versions (the peers' too) and commit."""
    header = circumstances(OURS, "sides in turn on 1 thread")
    header["peers"] = {name: list(packages) for name, packages in PEERS.items()}
    print(header["machine"], header["versions"], header["peers"], sep="\n")
    return header


def table(
    works: Sequence[str], sides: Mapping[str, Sequence[Side]], unit: str
) -> list[dict[str, Any]]:
    """Prints each side's median, range and ratio to ours; returns the rows.

    Args:
        works: names of works.
        sides: work -> those that did it, ours first.
        unit: of the rates.
    """
    rows = []
    print(f"{'work':>22} {'side':>26} {unit:>14} {'from':>10} {'to':>10} {'ours is':>9}")
    for work in works:
        ours = sides[work][0]
        for side in sides[work]:
            rates = side.rates[work]
            times = ratio(ours, side, work)
            print(
                f"{work:>22} {side.name:>26} {side.median(work):>14,.0f} {min(rates):>10,.0f} "
                f"{max(rates):>10,.0f} {times:>7.2f} x"
            )
            row = {"work": work, "side": side.name, "rates": rates, "median": side.median(work)}
            rows.append(row | {"ours_over": times})
    return rows


def read_options(description: str | None) -> argparse.Namespace:
    """Reads a benchmark's command line: ``quick`` and ``json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def conclude(
    path: Path | None,
    header: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, float],
) -> None:
    """Writes the document of a benchmark where it was asked for, and prints its figures."""
    if path is not None:
        document = {**header, "rows": rows, "figures": figures}
        path.write_text(json.dumps(document, indent=1) + "\n")
    for name, value in figures.items():
        print(f"figure {name} {value:.3f}")

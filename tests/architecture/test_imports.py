"""Imports run one way, down the floors; torch stays on its own; nothing goes in circles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import journeyman

PACKAGE = Path(journeyman.__file__).parent

FLOORS = {
    "cli": 6,
    "__main__": 6,
    "commands": 6,
    "doctor": 6,
    "rerun": 6,
    "saved_config": 6,
    "resume": 6,
    "main": 5,
    "composition": 5,
    "sweeps": 5,
    "orchestrator": 4,
    "session": 4,
    "preflight": 4,
    "strategies": 3,
    "stop_signals": 3,
    "record": 3,
    "suggestions": 1,
    "services": 2,
    "learning": 2,
    "reporting": 2,
    "context": 2,
    "inputs": 2,
    "run_folder": 1,
    "data": 1,
    "env": 1,
    "policies": 1,
    "tracking": 1,
    "settings": 0,
    "results": 0,
    "schedules": 0,
    "timing": 0,
    "heap": 0,
    "seeding": 0,
    "checkpoint": 0,
    "saved_json": 0,
    "folders": 0,
    "errors": 0,
    "environment": 0,
    "config_folder": 0,
    "hydra_jobs": 1,
}

SAME_FLOOR = {
    ("commands", "rerun"),
    ("commands", "resume"),
    ("commands", "saved_config"),
    ("rerun", "saved_config"),
    ("resume", "rerun"),
    ("resume", "saved_config"),
    ("commands", "doctor"),
    ("cli", "commands"),
    ("commands", "cli"),
    ("__main__", "cli"),
    ("main", "composition"),
    ("main", "sweeps"),
    # a report's figures are those of the services
    ("reporting", "services"),
    ("sweeps", "composition"),
    ("orchestrator", "session"),
    ("orchestrator", "preflight"),
    # observations and actions are what environments, data and policies speak of
    ("env", "policies"),
    ("data", "env"),
    ("data", "policies"),
    ("policies", "env"),
    # a schedule's shapes are pure functions
    ("settings", "schedules"),
    ("checkpoint", "errors"),
    ("saved_json", "errors"),
    ("folders", "errors"),
    ("settings", "errors"),
    ("config_folder", "errors"),
    ("results", "errors"),
}

TORCH_ALLOWED = ("learning", "strategies.bc", "strategies.ppo")


def modules() -> list[tuple[str, Path]]:
    """Returns (dotted name below the package, path) of every source file."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found.append((".".join(parts), path))
    return found


def imports(path: Path, *, everywhere: bool) -> Iterator[str]:
    """Yields the modules a file imports; ``everywhere``: also inside functions."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else _module_level(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_level(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _module_level(node.body)
        yield node


def package_of(dotted: str) -> str:
    return dotted.split(".")[0]


def test_every_module_has_a_floor() -> None:
    unknown = {package_of(name) for name, _ in modules() if name} - FLOORS.keys()
    assert not unknown, f"give {unknown} a floor here and in CONTRIBUTING.md"


@pytest.mark.parametrize(("name", "path"), [m for m in modules() if m[0]], ids=lambda v: str(v))
def test_imports_go_down(name: str, path: Path) -> None:
    here = package_of(name)
    for imported in imports(path, everywhere=True):
        if not imported.startswith("journeyman."):
            continue
        there = package_of(imported.removeprefix("journeyman."))
        if there == here or there not in FLOORS:
            continue
        lower = FLOORS[there] < FLOORS[here]
        assert lower or (here, there) in SAME_FLOOR, f"{name} imports {imported}"


def test_services_and_anneal_never_see_learning() -> None:
    for name, path in modules():
        if package_of(name) == "services" or name == "strategies.anneal":
            seen = [i for i in imports(path, everywhere=True) if "learning" in i]
            assert not seen, f"{name} imports {seen}"
    anneal = dict(modules())["strategies.anneal"]
    for imported in imports(anneal, everywhere=True):
        assert imported not in ("journeyman.strategies.bc", "journeyman.strategies.ppo")


def test_only_learning_imports_torch() -> None:
    for name, path in modules():
        uses_torch = any(package_of(i) == "torch" for i in imports(path, everywhere=True))
        if uses_torch:
            assert name.startswith(TORCH_ALLOWED), f"{name} imports torch"


def test_only_tracking_imports_mlflow() -> None:
    for name, path in modules():
        if any(package_of(i) == "mlflow" for i in imports(path, everywhere=True)):
            assert package_of(name) == "tracking", f"{name} imports mlflow"


def test_no_import_circles() -> None:
    known = dict(modules())
    graph = {
        name: {
            imported.removeprefix("journeyman.")
            for imported in imports(path, everywhere=False)
            if imported.removeprefix("journeyman.") in known
        }
        - {name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail[trail.index(name) :], name])}"
        if name not in done:
            for imported in graph[name]:
                visit(imported, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


RULES_KNOW = {"state", "names", "constants", "compiled"}
"""What the town's rules may know beside each other: the state, names, numbers, the compiler."""


def strangers_to_rules(known: dict[str, Path]) -> set[tuple[str, str]]:
    """Returns (module, what it imports of this package) of the rules and of all they stand on."""
    rules = [name for name in known if name.startswith("env.town.rules.")]
    assert len(rules) > 5
    found = set()
    for name in (*rules, *(f"env.town.{one}" for one in RULES_KNOW)):
        for imported in imports(known[name], everywhere=True):
            inner = imported.removeprefix("journeyman.")
            # of "from module import name" the module itself is what counts
            if inner == imported or (inner not in known and inner.rpartition(".")[0] in known):
                continue
            town = inner.removeprefix("env.town.")
            if not town.startswith("rules.") and town not in RULES_KNOW:
                found.add((name, inner))
    return found


def test_the_towns_rules_know_only_its_state() -> None:
    assert strangers_to_rules(dict(modules())) == set()


def test_a_rule_that_knew_more_would_be_found(tmp_path: Path) -> None:
    guilty = tmp_path / "guilty.py"
    guilty.write_text(
        "from journeyman.env.town.scenarios import Layout\nimport journeyman.errors\n"
    )
    known = {**dict(modules()), "env.town.rules.queues": guilty}
    assert strangers_to_rules(known) == {
        ("env.town.rules.queues", "env.town.scenarios"),
        ("env.town.rules.queues", "errors"),
    }


SEEDED = {"Generator", "PCG64", "SeedSequence", "default_rng"}
"""What may be called of ``np.random``, and only with an argument."""

TORCH_CHANCE = {"rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "normal"}
"""What may be called of torch only with a generator."""


def drawn_from_nowhere(tree: ast.Module) -> Iterator[str]:
    """Yields the calls of a file that draw from a global or an unseeded generator."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        given = {keyword.arg for keyword in node.keywords}
        unseeded = name not in SEEDED or not (node.args or node.keywords)
        if (
            (owner in ("np.random", "numpy.random") and unseeded)
            or (
                owner == "torch"
                and (name == "manual_seed" or (name in TORCH_CHANCE and "generator" not in given))
            )
            or owner == "random"
        ):
            yield f"{owner}.{name}"


def test_no_global_randomness() -> None:
    for name, path in modules():
        found = set(drawn_from_nowhere(ast.parse(path.read_text())))
        if name == "env.town.vector_env":
            # Gymnasium: a first reset without a seed asks for fresh entropy.
            found -= {"np.random.SeedSequence"}
        assert not found, f"{name} calls {found}; take a generator from SeedPlan"


def test_global_randomness_would_be_found() -> None:
    guilty = (
        "np.random.shuffle(x)",
        "np.random.default_rng()",
        "torch.manual_seed(0)",
        "torch.randperm(5)",
        "random.random()",
    )
    innocent = "np.random.default_rng(seed)\ntorch.randperm(5, generator=g)\nrng.random()"
    for line in guilty:
        assert list(drawn_from_nowhere(ast.parse(line))), line
    assert not list(drawn_from_nowhere(ast.parse(innocent)))


def test_no_pickle_is_loaded() -> None:
    for name, path in modules():
        text = path.read_text()
        assert "allow_pickle=True" not in text, name
        assert not any(package_of(i) == "pickle" for i in imports(path, everywhere=True)), name
        assert "yaml.load(" not in text, name


def run_blocked(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process in which some packages cannot be imported."""
    preamble = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", preamble + code], capture_output=True, text=True, timeout=250
    )


def test_everything_but_learning_imports_without_torch() -> None:
    names = [
        f"journeyman.{name}" if name else "journeyman"
        for name, _ in modules()
        if not name.startswith((*TORCH_ALLOWED, "strategies.training", "__main__"))
    ]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    done = run_blocked(code, "torch")
    assert done.returncode == 0, done.stderr


def test_a_run_of_another_environment_needs_no_compiler(tmp_path: Path) -> None:
    overrides = [
        *("env=gymnasium", "env.id=CartPole-v1", "strategy=ppo", "strategy.updates=1"),
        *("strategy.worlds=2", "strategy.rollout_ticks=16", "strategy.minibatch_size=16"),
        *("evaluation.episodes=2", "promotion=off", "tracking=none", f"outputs={tmp_path}"),
    ]
    code = f"from journeyman.cli import run\nsys.exit(run({overrides!r}))\n"
    done = run_blocked(code, "numba", "llvmlite")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("results.json"))


def test_validated_config_needs_nothing_heavy() -> None:
    code = (
        "from journeyman.composition import compose_settings\n"
        "compose_settings(['strategy=anneal'])\n"
        "import sys\n"
        "heavy = {'torch', 'mlflow', 'numba', 'scipy', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

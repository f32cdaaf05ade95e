"""The subcommands: what is done around the main job."""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from journeyman.errors import UserError


def _add_store(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which store is meant."""
    parser.add_argument("--outputs", default="outputs", help="outputs folder (default: outputs)")
    parser.add_argument("--uri", help="tracking URI (default: as a run would choose)")


def ui(argv: Sequence[str]) -> int:
    """``journeyman ui``: serves the MLflow page of an outputs folder on this machine only."""
    parser = argparse.ArgumentParser(
        prog="journeyman ui", description="Serve the MLflow page on 127.0.0.1 and print its link."
    )
    parser.add_argument("--outputs", default="outputs", help="outputs folder (default: outputs)")
    parser.add_argument("--uri", help="tracking URI (default: the outputs folder's own store)")
    parser.add_argument("--port", type=int, default=5000, help="port (default: 5000)")
    parser.add_argument("--experiment", help="experiment to open (default: that of the last run)")
    arguments = parser.parse_intermixed_args(argv)
    from journeyman.tracking.ui import serve_ui

    serve_ui(
        arguments.uri or Path(arguments.outputs).resolve(),
        port=arguments.port,
        experiment=arguments.experiment,
    )
    return 0


def check_env(argv: Sequence[str]) -> int:
    """``journeyman check-env``: says what is wrong with an environment; 1 if anything is."""
    parser = argparse.ArgumentParser(
        prog="journeyman check-env",
        description="Play an environment at random and say what is wrong with it.",
    )
    parser.add_argument(
        "overrides", nargs="*", help="as for a run, e.g. env=gymnasium env.id=CartPole-v1"
    )
    parser.add_argument(
        "--steps", type=int, default=1000, help="steps of random play in each lane (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of worlds and chance (default: 0)")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.steps < 1 or arguments.seed < 0:
        raise UserError("check-env: --steps must be at least 1 and --seed at least 0")
    from journeyman.composition import compose_settings
    from journeyman.env.build import lane_spec, lanes_per_world
    from journeyman.env.checker import ADVICE, check_settings

    settings = compose_settings(arguments.overrides).env
    spec = lane_spec(settings)
    seen = f"{len(spec.feature_names)} features"
    if spec.map_shape is not None:
        seen += f" and a map {spec.map_shape}"
    names = ", ".join(spec.action_names[:8]) + (" ..." if len(spec.action_names) > 8 else "")
    lanes = lanes_per_world(settings)
    print(f"{spec.env_id}: {lanes} {'lane' if lanes == 1 else 'lanes'} a world")
    print(f"  sees {seen}")
    print(f"  does {spec.action_kind} {names}" + (", masked" if spec.has_action_mask else ""))
    found = check_settings(settings, steps=arguments.steps, seed=arguments.seed)
    wrong = [sentence for sentence in found if not sentence.startswith(ADVICE)]
    for sentence in wrong:
        print(f"wrong: {sentence}")
    for sentence in found:
        if sentence.startswith(ADVICE):
            print(sentence)
    count = {0: "nothing", 1: "1 thing"}.get(len(wrong), f"{len(wrong)} things")
    print(f"{count} wrong in {arguments.steps} steps of random play")
    return int(bool(wrong))


def resume(argv: Sequence[str]) -> int:
    """``journeyman resume``: goes on with a run or a sweep; what is done is not done again."""
    parser = argparse.ArgumentParser(
        prog="journeyman resume",
        description="Go on with a run that was ended too early, in its folder and to the same "
        "bits; or run what is missing or failed in a sweep's folder.",
    )
    parser.add_argument(
        "folder",
        metavar="run",
        help="folder of a run (with config.yaml) or a sweep (sweep.json), or MLflow run id",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help="how a sweep is run, e.g. launch=joblib hydra.sweeper.trials=40",
    )
    _add_store(parser)
    arguments = parser.parse_intermixed_args(argv)
    from journeyman.rerun import folder_here

    folder = folder_here(
        arguments.folder, uri=arguments.uri, outputs=Path(arguments.outputs).resolve()
    )
    from journeyman.sweeps.resume import is_sweep, resume_sweep

    if is_sweep(folder):
        from journeyman.cli import launch
        from journeyman.preflight import preflight

        check = functools.partial(preflight, resumed=True)
        return resume_sweep(folder, arguments.overrides, launch, check)
    from journeyman.resume import is_run, resume_run

    if is_run(folder) and arguments.overrides:
        raise UserError("a resumed run keeps its config; journeyman rerun takes overrides")
    resume_run(folder)
    return 0


def report(argv: Sequence[str]) -> int:
    """``journeyman report``: makes a comparison's page again, from what MLflow knows."""
    parser = argparse.ArgumentParser(
        prog="journeyman report",
        description="Compare jobs on one page: table, curves, probabilities, commands.",
    )
    parser.add_argument(
        "sources", nargs="+", help="sweep or run folders, MLflow run ids, names of experiments"
    )
    _add_store(parser)
    parser.add_argument("--to", help="file (default: report.html in the sweep's folder, else here)")
    arguments = parser.parse_intermixed_args(argv)
    from journeyman.sweeps.collect import gather
    from journeyman.sweeps.finish import REPORT_FILE, write_report

    outputs = Path(arguments.outputs).resolve()
    found = gather(arguments.sources, uri=arguments.uri, outputs=outputs)
    path = Path(arguments.to) if arguments.to else (found.sweep_dir or Path.cwd()) / REPORT_FILE
    try:
        written = write_report(path.resolve(), found.title, found.command, found.jobs)
    except OSError as error:
        raise UserError(f"--to: {path} cannot be written ({error.strerror})") from error
    print(f"report: {written}")
    return 0


def rerun(argv: Sequence[str]) -> int:
    """``journeyman rerun``: runs a saved run's config again, and compares on request."""
    parser = argparse.ArgumentParser(
        prog="journeyman rerun",
        description="Run again what a run folder saved; overrides change it.",
    )
    parser.add_argument("run", help="run folder (the one with config.yaml), or MLflow run id")
    parser.add_argument(
        "overrides", nargs="*", help="dotted changes to the saved config: seed=1, or ~key"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare every metric and the weights with the original; exit 1 if any differs",
    )
    _add_store(parser)
    arguments = parser.parse_intermixed_args(argv)
    from journeyman.rerun import original_run, require_comparable, rerun_run, verify

    outputs = Path(arguments.outputs).resolve()
    with original_run(arguments.run, uri=arguments.uri, outputs=outputs) as original:
        if arguments.verify and (original.folder / "config.yaml").is_file():
            require_comparable(original)
        again = rerun_run(original.folder, arguments.overrides, where=original.where)
        if not arguments.verify:
            return 0
        differences = verify(original.folder, again, arguments.overrides)
    for line in differences:
        print(f"journeyman: {line}", file=sys.stderr)
    if differences:
        return 1
    print(f"verified: every metric and the weights of {again.name} equal those of {original.name}")
    return 0


def doctor(argv: Sequence[str]) -> int:
    """``journeyman doctor``: says what is here and what is wrong with it."""
    parser = argparse.ArgumentParser(
        prog="journeyman doctor",
        description="Look at versions, machine, tracking store and caches; exit 1 if any fails.",
    )
    _add_store(parser)
    arguments = parser.parse_intermixed_args(argv)
    from rich.console import Console

    from journeyman.doctor import examine, print_findings

    findings = examine(Path(arguments.outputs).resolve(), arguments.uri)
    print_findings(findings, Console())
    return int(any(finding.health == "fail" for finding in findings))


def sync(argv: Sequence[str]) -> int:
    """``journeyman sync``: delivers metrics that the tracking store did not take."""
    parser = argparse.ArgumentParser(
        prog="journeyman sync",
        description="Deliver what runs could not while their tracking store was away.",
    )
    parser.add_argument(
        "folders", nargs="*", default=["outputs"], help="run or outputs folders (default: outputs)"
    )
    parser.add_argument("--uri", help="tracking URI (default: as the runs chose)")
    arguments = parser.parse_intermixed_args(argv)
    from journeyman.tracking.spool import spools_below

    folders = [each for name in arguments.folders for each in spools_below(Path(name).resolve())]
    if not folders:
        print("nothing to deliver")
    failed: list[Path] = []
    for folder in dict.fromkeys(folders):
        below = [each for each in failed if folder in each.parents]
        if below:
            _say_left(folder, [f"{folder}: comes after {below[0]}, which is not delivered"], failed)
            continue
        try:
            print(_delivered(folder, arguments.uri))
        except UserError as error:
            _say_left(folder, error.problems, failed)
    if failed:
        print(f"journeyman: {len(failed)} of {len(folders)} folders left", file=sys.stderr)
    return int(bool(failed))


def _delivered(folder: Path, uri: str | None) -> str:
    from journeyman.run_folder import held
    from journeyman.tracking.redelivery import deliver_spool
    from journeyman.tracking.spool import REFUSED_NAME

    with held(folder):
        count, refused = deliver_spool(folder, uri=uri)
    said = f"{folder}: {count} operations delivered"
    return said + (f", {refused} refused (see {REFUSED_NAME})" if refused else "")


def _say_left(folder: Path, problems: Sequence[str], failed: list[Path]) -> None:
    failed.append(folder)
    for problem in problems:
        named = problem if str(folder) in problem else f"{folder}: {problem}"
        print(f"journeyman: {named}", file=sys.stderr)

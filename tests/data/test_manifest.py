import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from journeyman.data.manifest import read_manifest, visit_samples
from journeyman.data.storage import save_trajectory
from journeyman.errors import UserError
from support.trajectories import (
    make_arrays,
    make_sidecar,
    make_trajectory,
    write_manifest,
    write_raw,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two samples; the working directory is elsewhere."""
    (tmp_path / "data").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for name in ("a", "b"):
        save_trajectory(make_trajectory(), tmp_path / "data" / name)
    return tmp_path / "data"


def write(folder: Path, document: object, name: str = "manifest.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def problems(path: Path, **how) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        read_manifest(path, **how)
    return caught.value.problems


ENTRIES = ["a.npz", {"sample": "b.npz", "weight": 2, "split": "val", "meta": {"shift": "early"}}]
HEADED = {"label": "morning", "metrics": {"reward_sum": 3.0}, "samples": ENTRIES}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", json.dumps(ENTRIES)),
        ("m.json", json.dumps(HEADED)),
        ("m.jsonl", "\n".join(map(json.dumps, ENTRIES)) + "\n\n"),
        ("m.yaml", yaml.safe_dump(ENTRIES)),
        ("m.yml", yaml.safe_dump(HEADED)),
    ],
)
def test_all_forms_say_the_same(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    manifest = read_manifest(folder / name)
    first, second = manifest.entries
    assert (first.path, second.path) == (folder / "a.npz", folder / "b.npz")
    assert (first.weight, first.split, first.sha256, dict(first.meta)) == (1.0, "", None, {})
    assert (second.weight, second.split, dict(second.meta)) == (2.0, "val", {"shift": "early"})
    assert manifest.label == ("morning" if "label" in text else "m")
    assert dict(manifest.metrics) == ({"reward_sum": 3.0} if "label" in text else {})


def test_what_is_not_accepted_is_skipped_and_counted(folder: Path) -> None:
    entries = [
        "a.npz",
        {"sample": "b.npz", "accepted": False},
        {"sample": "no.npz", "accepted": False},
    ]
    manifest = read_manifest(write(folder, entries))
    assert [entry.sample for entry in manifest.entries] == ["a.npz"]
    assert manifest.skipped == 2
    only = write(folder, [{"sample": "a.npz", "accepted": False}])
    assert problems(only) == (f"{only}: no accepted entry (1 skipped)",)


def test_paths_lie_beside_the_manifest_or_in_the_working_directory(folder: Path) -> None:
    save_trajectory(make_trajectory(seed=9), Path("here/c"))
    manifest = read_manifest(write(folder, ["a.npz", "here/c.npz"]))
    assert manifest.entries[1].path == Path.cwd() / "here/c.npz"


def test_the_manifests_folder_comes_first(folder: Path) -> None:
    save_trajectory(make_trajectory(seed=9), Path("a"))
    assert read_manifest(write(folder, ["a.npz"])).entries[0].path == folder / "a.npz"


def test_meta_may_be_the_sidecars_path(folder: Path) -> None:
    (folder / "a.json").rename(folder / "about_a.json")
    path = write(folder, [{"sample": "a.npz", "meta": "about_a.json"}])
    _, [[sample]] = visit_samples(path, list)
    assert sample.trajectory.digest == make_trajectory().digest
    missing = write(folder, ["a.npz"])
    assert "sidecar a.json: no such file" in problems(missing)[0]


@pytest.mark.parametrize("how", ["dots", "absolute", "link", "linked folder", "sidecar link"])
def test_paths_outside_are_refused_unless_allowed(folder: Path, how: str) -> None:
    outside = folder.parent / "outside"
    save_trajectory(make_trajectory(), outside / "x")
    sample = {
        "dots": "../outside/x.npz",
        "absolute": str(outside / "x.npz"),
        "link": "x.npz",
        "linked folder": "inner/x.npz",
        "sidecar link": "x.npz",
    }[how]
    if how == "link":
        (folder / "x.npz").symlink_to(outside / "x.npz")
        (folder / "x.json").write_bytes((outside / "x.json").read_bytes())
    elif how == "linked folder":
        (folder / "inner").symlink_to(outside)
    elif how == "sidecar link":
        (folder / "x.npz").write_bytes((outside / "x.npz").read_bytes())
        (folder / "x.json").symlink_to(outside / "x.json")
    path = write(folder, [sample])
    [problem] = problems(path)
    assert f"entry 0 ({sample})" in problem
    assert "lies outside" in problem
    assert "dataset.allow_external_paths=true" in problem
    _, [[loaded]] = visit_samples(path, list, allow_external_paths=True)
    assert loaded.trajectory.digest == make_trajectory().digest


def test_a_path_up_and_back_in_is_inside(folder: Path) -> None:
    assert read_manifest(write(folder, ["../data/a.npz"])).entries[0].sample == "../data/a.npz"


def test_links_that_go_in_circles_are_no_file(folder: Path) -> None:
    (folder / "x.npz").symlink_to(folder / "y.npz")
    (folder / "y.npz").symlink_to(folder / "x.npz")
    [problem] = problems(write(folder, ["x.npz"]))
    assert "entry 0 (x.npz)" in problem


BAD_ENTRIES = {
    "number": (3, "must be a path or an object with 'sample', not 3"),
    "nothing": ({}, "sample: must be the path of an npz, not None"),
    "empty": ("", "sample: must be the path of an npz, not ''"),
    "null byte": ("a\0.npz", "sample: must be the path"),
    "suffix": ("a.json", "sample: must end in .npz"),
    "missing": ("no.npz", "no such file, neither under"),
    "folder": ("dir.npz", "no such file"),
    "typo": ({"sample": "a.npz", "wieght": 2}, "unknown key 'wieght'; allowed: sample, meta"),
    "accepted": ({"sample": "a.npz", "accepted": "no"}, "accepted: must be true or false"),
    "weight": ({"sample": "a.npz", "weight": -1}, "weight: must be a number of at least 0"),
    "NaN weight": ({"sample": "a.npz", "weight": float("nan")}, "weight: must be a number"),
    "true weight": ({"sample": "a.npz", "weight": True}, "weight: must be a number"),
    "sha256": ({"sample": "a.npz", "sha256": "abc"}, "sha256: must be 64 hexadecimal digits"),
    "split": ({"sample": "a.npz", "split": "test"}, "split: must be train or val"),
    "meta": ({"sample": "a.npz", "meta": [1]}, "meta: must be an object or the path"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_bad_entry_is_named_with_its_position(folder: Path, name: str) -> None:
    (folder / "dir.npz").mkdir()
    entry, message = BAD_ENTRIES[name]
    path = write(folder, ["b.npz", entry])
    [problem] = problems(path)
    assert problem.startswith(f"{path}: entry 1")
    assert message in problem


def test_one_error_names_every_bad_entry_and_file(folder: Path) -> None:
    write_raw(folder / "nan", {**make_arrays(), "rewards": np.full(5, np.nan)}, make_sidecar())
    (folder / "corrupt.npz").write_bytes(b"PK")
    (folder / "corrupt.json").write_text("{}")
    entries = [
        "a.npz",
        "no.npz",
        "nan.npz",
        {"sample": "b.npz", "sha256": "0" * 64},
        "corrupt.npz",
        {"sample": "a.npz", "split": "test"},
        "../../etc/passwd.npz",
    ]
    with pytest.raises(UserError) as caught:
        visit_samples(write(folder, entries), list)
    text = caught.value.problems
    assert len(text) == 6
    for name in ("no.npz", "nan.npz", "b.npz", "corrupt.npz", "split: must be", "passwd.npz"):
        assert sum(name in problem for problem in text) == 1, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.json", "{", "the manifest is not JSON"),
        ("m.json", "3", "a manifest is a list of samples"),
        ("m.json", '{"sample": "a.npz"}', "a manifest is a list of samples"),
        ("m.yaml", "a: [1", "the manifest is not YAML"),
        ("m.yaml", "!!python/object/apply:os.getcwd []", "the manifest is not YAML"),
        ("m.yaml", "", "a manifest is a list of samples"),
        ("m.jsonl", '"a.npz"\n{\n', "line 2 is not JSON"),
        ("m.json", "[]", "no accepted entry (0 skipped)"),
        ("m.txt", "[]", "a manifest ends in .json, .jsonl, .yaml or .yml"),
        ("m.json", '{"samples": ["a.npz"], "label": 3}', "label: must be text, not 3"),
        ("m.json", '{"samples": ["a.npz"], "metrics": 3}', "metrics: must map names to numbers"),
        ("m.json", '{"samples": ["a.npz"], "warnings": "x"}', "warnings: must be a list"),
    ],
)
def test_a_file_that_is_no_manifest(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    [problem] = problems(folder / name)
    assert problem.startswith(f"{folder / name}: ")
    assert message in problem


def test_a_missing_manifest_and_one_that_is_a_folder(folder: Path) -> None:
    assert problems(folder / "no.json") == (f"{folder / 'no.json'}: no such manifest",)
    (folder / "m.json").mkdir()
    assert "cannot be read" in problems(folder / "m.json")[0]
    (folder / "l.json").write_bytes(b"\xff\xfe")
    assert "cannot be read" in problems(folder / "l.json")[0]


def test_entries_are_visited_in_order_with_what_the_manifest_says(folder: Path) -> None:
    path = write_manifest(folder, 3)
    manifest, visited = visit_samples(path, lambda samples: [s.name for s in samples])
    assert visited == [["s0.npz"], ["s1.npz"], ["s2.npz"]]
    assert len(manifest.entries) == 3

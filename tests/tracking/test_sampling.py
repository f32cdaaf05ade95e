"""A long log is thinned out evenly, and its ends stay."""

import json
import time
from itertools import pairwise

from journeyman.tracking.sampling import sample_metrics


def write(path, lines):
    path.write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))


def line(group, step):
    return {"group": group, "step": step, "log_stream_offset": step, "time": "t", "loss": step / 2}


def test_every_line_of_a_short_log_is_there_group_by_group(tmp_path):
    write(tmp_path / "metrics.jsonl", [line("bc", 1), line("ppo", 8), line("bc", 2)])
    found = sample_metrics(tmp_path, 100)
    assert [*found] == ["bc", "ppo"]
    assert [each["step"] for each in found["bc"].lines] == [1, 2]
    assert (found["bc"].total, found["ppo"].total) == (2, 1)


def test_a_long_log_keeps_its_ends_and_even_spacing_over_rotated_parts(tmp_path):
    write(tmp_path / "metrics.jsonl.1", [line("ppo", step) for step in range(1500)])
    write(tmp_path / "metrics.jsonl", [line("ppo", step) for step in range(1500, 2001)])
    found = sample_metrics(tmp_path, 100)["ppo"]
    steps = [each["step"] for each in found.lines]
    assert (steps[0], steps[-1], found.total) == (0, 2000, 2001)
    assert 50 <= len(steps) <= 101
    gaps = {later - earlier for earlier, later in pairwise(steps[:-1])}
    assert len(gaps) == 1


def test_a_damaged_or_half_line_and_no_log_at_all_are_no_error(tmp_path):
    assert sample_metrics(tmp_path, 10) == {}
    write(tmp_path / "metrics.jsonl", [line("ppo", 1)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"group":"ppo","step":2,"lo\nnonsense\n{"group":"ppo","st')
    assert [each["step"] for each in sample_metrics(tmp_path, 10)["ppo"].lines] == [1]


def test_most_lines_are_not_parsed(tmp_path, monkeypatch):
    write(tmp_path / "metrics.jsonl", [line("ppo", step) for step in range(20_000)])
    parsed = []
    real = json.loads
    monkeypatch.setattr(
        "journeyman.tracking.sampling.json.loads", lambda raw: parsed.append(1) or real(raw)
    )
    began = time.perf_counter()
    sample_metrics(tmp_path, 100)
    assert len(parsed) <= 101
    assert time.perf_counter() - began < 5.0

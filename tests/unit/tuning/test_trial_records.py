"""The records of trials: written, read, summarised and ranked."""

from pathlib import Path

from m3l.tuning.trial_records import mark_stopped, read_record, read_records, write_record
from tests.support.trials import TRIALS


def test_trials_are_summarised_by_the_mean_of_their_seeds_and_ranked() -> None:
    assert [trial["params"]["train.cut"] for trial in TRIALS] == [60.0, 50.0, 25.0, 70.0, 75.0]
    assert [trial["objective"] for trial in TRIALS] == [2.0, 3.0, 34.0, None, None]
    assert [trial["sd"] for trial in TRIALS] == [1.0, 1.0, None, None, None]


def test_records_are_read_in_the_order_of_their_first_evaluations(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for cut, times in ((1.0, [5.0, 6.0]), (2.0, []), (3.0, [4.0, 9.0])):
        record = read_record(folder, {"train.cut": cut})
        write_record(folder, record | {"evaluations": [{"objective": 1.0, "at": time} for time in times]})
    assert [record["point"]["train.cut"] for record in read_records(folder)] == [3.0, 1.0, 2.0]


def test_a_trial_that_the_driver_stopped_has_ended(tmp_path: Path) -> None:
    point = {"train.cut": 1.0}
    write_record(str(tmp_path), read_record(str(tmp_path), point))
    assert [record["end"] for record in read_records(str(tmp_path))] == [None]
    mark_stopped(str(tmp_path), point, 2)
    assert [record["end"] for record in read_records(str(tmp_path))] == ["stopped"]

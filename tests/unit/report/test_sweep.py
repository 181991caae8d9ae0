"""The page of a sweep."""

import re

from m3l.report.sweep import render
from m3l.tuning.trial_records import summarise_trial
from tests.support.trials import TRIALS, trial_record


def test_the_page_shows_the_configured_trial_and_the_best_one_with_their_deviations() -> None:
    page = render(TRIALS, {"train.cut": 50.0})
    text = re.sub(r"<script.*?</script>|<[^>]*>", "", page, flags=re.DOTALL)
    assert re.search(r"3\.0000\s*current configuration, ± 1\.0000\s*train.cut 50\.0", text)
    assert re.search(r"2\.0000\s*best trial, ± 1\.0000\s*train.cut 60\.0", text)
    assert "Means of 3 seeds" in text
    for title in ("All trials, one line each", "Importance of each setting", "Objective by trial"):
        assert title in text
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script[^>]* src=|<link", page)  # all that it needs is inside


def test_a_page_of_one_trial_has_no_chart_of_importance() -> None:
    one = [summarise_trial(trial_record(50.0, 2.0))]
    page = render(one, {"train.cut": 50.0})
    assert "Importance of each setting" not in page and "tune.seeds=3" in page

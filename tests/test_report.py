"""A result as text: its content and its warnings."""

import base64
import dataclasses
import html as markup
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import pyplot as plt
from strategies import result_of, u_shape

from ignite_lrfinder import LRFinderResult, Trial
from ignite_lrfinder.report import formatted

LR = np.geomspace(1e-7, 10.0, 100)
X = np.log10(LR)


def swept(noise: float = 0.0) -> LRFinderResult:
    """Return a sweep with a narrow valley."""
    return result_of(LR, u_shape(X, fall_at=-2.0, cliff_at=-0.5, noise=noise))


def with_trials(noise: float, *, lrs: tuple[float, ...] = (0.01, 0.05, 0.25)) -> LRFinderResult:
    """Return a sweep with trials, of which the middle one is the best, with some noise."""
    rng = np.random.default_rng(0)
    losses = [1 + 0.1 * abs(np.log(lr / lrs[1])) + noise * rng.standard_normal(100) for lr in lrs]
    for row in losses:
        row[0] = 2.0
    trials = [Trial(lr=lr, num_iter=100, losses=row) for lr, row in zip(lrs, losses, strict=True)]
    return dataclasses.replace(swept(), trials=tuple(trials))


def test_the_text_names_what_was_tested_and_every_suggestion() -> None:
    """Points, range, stop reason, the suggestion for the plan, and the other methods."""
    text = swept().summary(schedule="decay")
    assert "100 of 100 points, from 1.00e-07 to 1.00e+01; every point up to end_lr" in text
    lr = swept().lr_suggestion(schedule="decay")
    assert f"Suggested learning rate: {lr:.2e}, for the peak of a rate that decays." in text
    for name, other in swept().suggestions().items():
        assert name == "auto" or f"{name} {other:.2e}" in text


def test_the_repr_of_a_result_is_its_text() -> None:
    """At the prompt a result is a few lines, not its arrays."""
    assert repr(swept()) == swept().summary()
    assert len(repr(swept()).splitlines()) <= 8


def test_a_refusal_is_described_and_not_raised() -> None:
    """The text of a flat curve says why there is no suggestion."""
    assert "No suggestion: " in result_of(LR, 1 + 0 * LR).summary()
    assert "is flat" in result_of(LR, 1 + 0 * LR).summary()


def test_an_empty_result_has_a_text() -> None:
    """A sweep that ended before its first point is described, too."""
    empty = dataclasses.replace(
        swept(), lr=np.empty((0, 1)), losses=np.empty(0), smoothed_losses=np.empty(0)
    )
    assert "0 of 100 points; " in repr(empty)


@pytest.mark.parametrize(("noise", "warns"), [(0.01, False), (3.0, True)])
def test_trials_that_cannot_tell_rates_apart_are_named(noise: float, warns: bool) -> None:
    """An interval wider than a factor of 10 causes a warning; a narrow one does not."""
    result = with_trials(noise)
    assert result.interval is not None
    low, high = result.interval
    assert (high / low > 10) == warns
    where = f"may be any from {low:.2e} to" if warns else f"lies between {low:.2e} and {high:.2e}"
    assert f"; their best rate {where}" in result.summary()
    assert ("cannot tell apart rates that differ by a factor of" in result.summary()) == warns
    longer = "Trials(max_iter=2332, short_iter=200, long_iter=433)"  # than 100 iterations
    assert (f"Let them run longer: verify={longer}." in result.summary()) == warns


@pytest.mark.parametrize(
    ("best", "text"), [(0, "best rate is {:.2e} or lower"), (2, "best rate is {:.2e} or higher")]
)
def test_an_interval_is_open_where_no_other_rate_was_tried(best: int, text: str) -> None:
    """A bound that is only the end of what was tried is not shown as a bound."""
    result, lrs = with_trials(0.001), (0.01, 0.05, 0.25)
    losses = np.roll([trial.losses for trial in result.trials], best - 1, axis=0)
    trials = [Trial(lr=lr, num_iter=100, losses=row) for lr, row in zip(lrs, losses, strict=True)]
    result = dataclasses.replace(result, trials=tuple(trials))
    assert result.interval is not None
    assert text.format(result.interval[best == 0]) in result.summary()


def test_rates_of_groups_that_differ_name_the_group() -> None:
    """A range of rates belongs to one parameter group, which the text names."""
    result = with_trials(0.01)
    assert "parameter group" not in result.summary()
    wide = dataclasses.replace(
        result,
        lr=result.lr * [0.0, 0.1, 1.0],
        settings=dataclasses.replace(result.settings, start_lr=(0.0,) * 3, end_lr=(1.0,) * 3),
    )
    tested, *_, trials = wide.summary().splitlines()[:4]
    assert "from 1.00e-08 to 1.00e+00 in parameter group 1;" in tested
    assert "their best rate in parameter group 1 " in trials


def test_trials_on_different_batches_are_named() -> None:
    """The text says that trials were not paired."""
    result = with_trials(0.01)
    assert "different batches" not in result.summary()
    first, *rest = result.trials
    other = dataclasses.replace(first, losses=first.losses + 0.5)
    assert "different batches" in dataclasses.replace(result, trials=(other, *rest)).summary()


def test_many_groups_do_not_fill_the_screen() -> None:
    """Six rates are shown, and the rest counted."""
    assert formatted([0.1] * 7 + [0.2]) == ", ".join(["1.00e-01"] * 6) + " and 2 more groups"
    assert formatted([0.1, 0.01]) == "1.00e-01, 1.00e-02"


def test_equal_rates_of_groups_are_written_once() -> None:
    """If all groups have the same rate, the rate is one number everywhere."""
    result = result_of(LR[:, None] * np.ones(20), swept().losses)
    lrs = result.lr_suggestion()
    assert isinstance(lrs, list)
    assert f"Suggested learning rate: {lrs[0]:.2e}, for" in result.summary()
    assert f"<td>{lrs[0]:.2e}</td>" in result._repr_html_()


def test_trials_that_gained_nothing_are_named_instead_of_a_rate() -> None:
    """The text has the reason and the methods that read the curve, but no interval."""
    nothing = Trial(lr=0.01, num_iter=60, losses=np.full(60, 9.0))
    result = dataclasses.replace(swept(), trials=(nothing,))
    text = result.summary()
    assert "No suggestion: No trial ended below the loss before training, of 1, so" in text
    assert "The methods read: steepest" in text
    assert "Careful" not in text
    assert result.interval is None
    assert not re.search("Suggested learning rate|best rate|what the trials", text)
    _, ax = result.plot_trials()
    assert ax.get_legend_handles_labels()[1] == ["trials of 60 iterations"]


def test_a_suggestion_after_trials_says_for_how_long_a_run_it_is() -> None:
    """The text has the length that it was corrected for, or that is assumed."""
    result = with_trials(0.01)
    assert "corrected for a run of 90000 iterations" in result.summary(total_iters=90_000)
    assert "corrected for an assumed run of 1000 iterations" in result.summary()
    assert "corrected" not in swept().summary(total_iters=90_000)


def test_a_single_trial_has_no_range_of_rates() -> None:
    """Nothing was compared, and the remedy is the one for what ended it."""
    result = with_trials(0.01)
    text = dataclasses.replace(result, trials=result.trials[:1]).summary()
    assert "Trials: 1 in 100 iterations.\n" in text
    assert "no other rate was compared with it. Allow more trials" in text
    short = dataclasses.replace(result.trials[0], num_iter=130)
    text = dataclasses.replace(result, trials=(short,)).summary()
    assert "no other rate was compared with it. Pass data that does not end" in text


def test_a_notebook_shows_text_picture_and_table() -> None:
    """The HTML has the lines of the text, an embedded picture, and a row for each method."""
    result = with_trials(0.01)
    page = result._repr_html_()
    for line in result.summary().splitlines():
        assert line.startswith("Other methods") or markup.escape(line) in page
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert picture is not None
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    for name, lr in result.suggestions().items():
        assert f"<td>{name}</td><td>{lr:.2e}</td>" in page
    assert "<td>bounds</td>" in page
    assert "http" not in page
    root = ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", page))
    assert root.tag == "div"


@pytest.mark.filterwarnings("error")
def test_a_notebook_shows_a_refusal() -> None:
    """Without a suggestion there is a picture but no table."""
    page = result_of(LR, 1 + 0 * LR)._repr_html_()
    assert "No suggestion" in page
    assert "<table>" not in page
    assert "<img" in page


def test_a_notebook_without_matplotlib_shows_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib there is no picture, and no error."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = swept()._repr_html_()
    assert "<img" not in page
    assert "<table>" in page


def test_drawing_for_a_notebook_leaves_pyplot_alone() -> None:
    """No figure is left open that a notebook would show again."""
    before = plt.get_fignums()
    swept()._repr_html_()
    assert plt.get_fignums() == before

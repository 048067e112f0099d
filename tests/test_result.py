"""The frozen result: shapes, read-only arrays, an exact file."""

import dataclasses
import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import result_of

from ignite_lrfinder import LRFinderResult, StopReason, SweepSettings, Trial


def make_result(
    lr: list[list[float]], losses: list[float], reason: StopReason = StopReason.NON_FINITE
) -> LRFinderResult:
    """Make a result of the given points."""
    num_groups = len(lr[0]) if lr else 1
    return LRFinderResult(
        lr=np.array(lr),
        losses=np.array(losses),
        smoothed_losses=np.array(losses) / 2,
        stop_reason=reason,
        settings=SweepSettings(
            start_lr=(1e-7,) * num_groups,
            end_lr=(1.0,) * num_groups,
            num_iter=100,
            step_mode="exp",
            smooth_f=0.05,
            diverge_th=float("inf"),
        ),
    )


@given(
    points=st.lists(st.tuples(st.floats(), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=20),
    reason=st.sampled_from(StopReason),
    batch=st.none() | st.integers(1, 10**6),
)
def test_a_saved_result_is_loaded_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    points: list[tuple[float, float, float]],
    reason: StopReason,
    batch: int | None,
) -> None:
    """Every number survives the file, even NaN and infinity, as does everything else."""
    path = tmp_path_factory.getbasetemp() / "result.json"
    result = make_result([[p[1], p[2]] for p in points], [p[0] for p in points], reason)
    result = dataclasses.replace(result, non_finite_batch=batch)
    result.save(path)
    loaded = LRFinderResult.load(path)
    for name in ("lr", "losses", "smoothed_losses"):
        # NaN has many bit patterns, of which a text keeps one.
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
        np.testing.assert_array_equal(
            np.signbit(np.nan_to_num(getattr(loaded, name))),
            np.signbit(np.nan_to_num(getattr(result, name))),
        )
        assert getattr(loaded, name).shape == getattr(result, name).shape
    assert loaded.stop_reason is reason
    assert loaded.non_finite_batch == batch
    assert loaded.settings == result.settings


def test_the_file_is_strict_json(tmp_path: Path) -> None:
    """The file has no token outside the JSON standard."""

    def refuse(token: str) -> None:
        raise AssertionError(token)

    path = tmp_path / "result.json"
    make_result([[1.0], [2.0], [3.0]], [np.nan, np.inf, -np.inf]).save(path)
    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["losses"] == ["nan", "inf", "-inf"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no readable JSON"),
        ("[1, 2", "no readable JSON"),
        ("\x00\xff", "no readable JSON"),
        ("[]", "another kind of file"),
        ('{"format": "something"}', "another kind of file"),
        ('{"format": "ignite-lrfinder-result", "version": 99}', "version 99"),
        ('{"format": "ignite-lrfinder-result", "version": 1}', "damaged"),
        ("[" * 100_000, "no readable JSON"),
    ],
    ids=["empty", "truncated", "binary", "list", "foreign", "newer", "incomplete", "deep"],
)
def test_a_file_without_a_result_is_refused(tmp_path: Path, text: str, match: str) -> None:
    """The error says that the file is not a result, and what it is."""
    path = tmp_path / "file"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"path must be a file that LRFinderResult.save.*{match}"):
        LRFinderResult.load(path)


@pytest.mark.parametrize("field", ["lr", "losses", "stop_reason", "settings"])
@pytest.mark.parametrize("value", [None, "text", [[1], [2, 3]], {"a": 1}], ids=repr)
def test_a_result_with_a_damaged_field_is_refused(
    tmp_path: Path, field: str, value: object
) -> None:
    """A field of the wrong type is a clear error, not a result that fails later."""
    path = tmp_path / "result.json"
    make_result([[1.0], [2.0]], [0.5, 0.25]).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match="damaged"):
        LRFinderResult.load(path)


def test_a_result_cannot_be_changed() -> None:
    """Neither a field nor an element of an array can be changed."""
    given = np.array([0.5, 0.25])
    result = dataclasses.replace(make_result([[1.0], [2.0]], [0.0, 0.0]), losses=given)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.stop_reason = StopReason.COMPLETED  # type: ignore[misc]  # what the test is about
    with pytest.raises(ValueError, match="read-only"):
        result.losses[0] = 1.0
    given[0] = 9.0
    assert result.losses.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("lr", "losses"),
    [([[1.0], [2.0]], [0.5]), ([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.25])],
    ids=["too-few-losses", "too-many-groups"],
)
def test_arrays_of_different_lengths_are_refused(
    lr: list[list[float]], losses: list[float]
) -> None:
    """Each loss needs a row of learning rates, and each parameter group a column."""
    good = make_result([[1.0], [2.0]], [0.5, 0.25])
    with pytest.raises(ValueError, match=r"must be of shape .*, got .*\. Pass one row"):
        dataclasses.replace(good, lr=np.array(lr), losses=np.array(losses))


def test_a_sweep_without_points_has_a_result() -> None:
    """Without points the arrays have length 0, and a column for each parameter group."""
    result = make_result([], [])
    assert len(result) == 0
    assert result.lr.shape == (0, 1)


def test_plain_data_equals_the_file(tmp_path: Path) -> None:
    """`to_dict` gives dicts, lists and numbers; written as JSON, they are the file."""
    result = make_result([[1.0, 2.0], [2.0, 4.0]], [0.5, 0.25])
    content = result.to_dict()
    assert content["lr"] == [[1.0, 2.0], [2.0, 4.0]]
    assert content["losses"] == [0.5, 0.25]
    assert content["settings"]["diverge_th"] == float("inf")
    result.save(tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["settings"].pop("diverge_th") == "inf"
    del content["settings"]["diverge_th"]
    assert written == json.loads(json.dumps(content))


@pytest.mark.parametrize(
    ("lr", "columns"),
    [([[1.0], [2.0]], ["lr"]), ([[1.0, 3.0], [2.0, 6.0]], ["lr_0", "lr_1"])],
    ids=["one-group", "two-groups"],
)
def test_a_data_frame_has_a_row_for_each_point(lr: list[list[float]], columns: list[str]) -> None:
    """It has a column for each parameter group, the loss and the smoothed loss."""
    frame = make_result(lr, [0.5, 0.25]).to_pandas()
    assert list(frame.columns) == [*columns, "loss", "smoothed_loss"]
    np.testing.assert_array_equal(frame[columns].to_numpy(), lr)
    assert frame["loss"].tolist() == [0.5, 0.25]
    assert frame["smoothed_loss"].tolist() == [0.25, 0.125]


def test_the_file_is_private_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others cannot read it, and a failed write leaves the previous file."""
    path = tmp_path / "result.json"
    make_result([[1.0]], [0.5]).save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        make_result([[2.0]], [0.25]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is checked before its content."""
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.truncate(2**31)
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=r"path must be a file .* It holds 2147483648 bytes"):
        LRFinderResult.load(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(data=st.data())
def test_no_damage_does_more_than_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any file is a result or a clear ValueError; no code is run."""
    trial = Trial(lr=0.1, num_iter=3, losses=np.array([1.0, np.nan]))
    whole = dataclasses.replace(make_result([[1.0], [2.0]], [0.5, 0.25]), trials=(trial,))
    content = whole.to_dict()
    where: dict | list = content
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        key = data.draw(st.sampled_from(keys))
        inner = where[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        where = inner
    where[key] = data.draw(JSON)
    text = json.dumps(content).encode()
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(text)))
        text = text[:cut] + data.draw(st.binary(max_size=20))
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(text)
    try:
        said = repr(LRFinderResult.load(path))
    except ValueError as error:
        said = str(error)
    assert said.startswith(
        ("LR range test: ", "path must be a file that LRFinderResult.save wrote")
    )


def test_a_result_that_cannot_be_saved_names_the_file(tmp_path: Path) -> None:
    """The error has the path that was asked for, not that of a temporary file."""
    path = tmp_path / "no" / "result.json"
    with pytest.raises(FileNotFoundError) as caught:
        result_of(np.geomspace(1e-3, 1.0, 20), np.linspace(2.0, 1.0, 20)).save(path)
    assert caught.value.filename == str(path)

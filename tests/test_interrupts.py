"""Ctrl-C held back: it comes late, once, and never into the middle of a restore."""

import contextlib
import os
import signal
import threading
import types
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from conftest import Training
from probe import Follows, Place, at_place, ctrl_c, recording

from ignite_lrfinder import FastaiLRFinder, LRFinderError
from ignite_lrfinder.snapshot.interrupts import Interrupts


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, and put the handler of before back."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_sigint")
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_waits_for_the_end_of_the_block(times: int) -> None:
    """A real SIGINT inside comes out after the last statement, and the handler is as before."""
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts():  # noqa: PT012  # it must come after
        for i in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            done.append(i)
    assert len(done) == times
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_sigint")
@pytest.mark.parametrize("is_error", [True, False], ids=["error", "no-error"])
def test_without_ctrl_c_nothing_is_raised_but_what_the_block_raises(is_error: bool) -> None:
    """An error goes through, and the handler of SIGINT is back."""
    expected = pytest.raises(OSError) if is_error else contextlib.nullcontext()  # noqa: PT011  # any will do
    with expected, Interrupts():
        if is_error:
            raise OSError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_own_hears_of_ctrl_c() -> None:
    """What the user does at Ctrl-C is done once, after the block."""
    heard: list[str] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append("interrupt"))
    try:
        with Interrupts():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            heard.append("block")
        assert heard == ["block", "interrupt"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_the_block_just_runs() -> None:
    """Only the main thread may set signal handlers; elsewhere there is nothing to defer."""
    done = []

    def work() -> None:
        with Interrupts():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


@pytest.mark.usefixtures("default_sigint")
def test_what_came_early_is_let_through_when_it_is_allowed() -> None:
    """An interrupt that was held back is raised by `allow`, and later ones at once."""
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.allow()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("default_sigint")
def test_a_handler_that_was_set_meanwhile_stays() -> None:
    """A handler of SIGINT that the user sets inside the block is not taken away."""
    with Interrupts():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


class TimeLimit(Exception):  # it is no error of anything
    """What the handler of an alarm raises."""


@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_time_limit_during_the_restore_leaves_no_trace(
    make_training: Callable[..., Training], when: str
) -> None:
    """An exception out of any signal handler comes out after everything was restored."""

    def stop(number: int, frame: types.FrameType | None) -> None:
        raise TimeLimit

    class Alarming(dict):
        """An object in `to_save` whose loading takes too long."""

        def state_dict(self) -> dict[str, int]:
            return {}

        def load_state_dict(self, state: dict[str, int]) -> None:
            os.kill(os.getpid(), signal.SIGALRM)

    training = make_training()
    before = [parameter.tolist() for parameter in training.model.parameters()]

    def sweep() -> None:
        with FastaiLRFinder().attach(
            training.trainer, {"a": Alarming(), **training.to_save}, num_iter=5, diverge_th=1e9
        ) as trainer:
            signal.signal(signal.SIGALRM, stop)
            trainer.run(training.loader)

    original = signal.signal(signal.SIGALRM, stop if when == "before" else signal.SIG_DFL)
    try:
        with pytest.raises(TimeLimit):
            sweep()
        assert signal.getsignal(signal.SIGALRM) is stop
    finally:
        signal.signal(signal.SIGALRM, original)
    assert [parameter.tolist() for parameter in training.model.parameters()] == before


def runs_in(*files: str) -> Follows:
    """Return what follows the code of some files of the package or of the standard library."""
    return lambda code: os.path.basename(code.co_filename) in files


def in_attach(code: types.CodeType) -> bool:
    """Return whether code defers interrupts, or is the block itself."""
    return code.co_name == "attach" or runs_in("interrupts.py", "signal.py")(code)


@pytest.mark.usefixtures("default_sigint")
@pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning")
def test_ctrl_c_at_any_line_of_attach_leaves_no_trace(
    make_training: Callable[..., Training],
) -> None:
    """The interrupt leaves the block, everything is restored, and the finder can be used again."""
    training = make_training("sgd-momentum")
    before = [p.detach().clone() for p in training.model.parameters()]

    def sweep() -> None:
        finder = FastaiLRFinder()
        with finder.attach(training.trainer, training.to_save, num_iter=2) as trainer:
            trainer.run(training.loader)

    places: list[Place] = []
    with recording(places, in_attach):
        sweep()
    assert len(places) > 40
    for place in places:
        with contextlib.suppress(KeyboardInterrupt), at_place(place, ctrl_c, in_attach):
            sweep()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert not any(training.trainer._event_handlers.values())
        assert training.optimizer.param_groups[0]["lr"] == 1e-3
        assert training.optimizer.state == {}
        after = list(training.model.parameters())
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.usefixtures("default_sigint")
@pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning")
def test_ctrl_c_at_any_line_of_a_measurement_leaves_whole_points(
    make_training: Callable[..., Training],
) -> None:
    """The interrupt leaves the block, and the result has the points measured before it."""
    in_measurement = runs_in(
        "measurement.py", "recorder.py", "divergence.py", "scheduler.py", "steps.py"
    )
    training = make_training("sgd-momentum")
    before = [p.detach().clone() for p in training.model.parameters()]
    rng = torch.get_rng_state()
    steps: list[object] = []
    training.optimizer.register_step_post_hook(lambda *args: steps.append(args))

    def sweep(finder: FastaiLRFinder) -> None:
        torch.set_rng_state(rng)
        steps.clear()
        with finder.attach(training.trainer, training.to_save, num_iter=4, end_lr=1e-2) as trainer:
            trainer.run(training.loader)

    places: list[Place] = []
    finder = FastaiLRFinder()
    with recording(places, in_measurement):
        sweep(finder)
    whole = finder.result
    num_points = set()
    for place in places:
        finder = FastaiLRFinder()
        with contextlib.suppress(KeyboardInterrupt), at_place(place, ctrl_c, in_measurement):
            sweep(finder)
        points = 0
        with contextlib.suppress(LRFinderError):
            result = finder.result
            points = len(result)
            assert np.array_equal(result.losses, whole.losses[:points])
            assert np.array_equal(result.smoothed_losses, whole.smoothed_losses[:points])
        after = list(training.model.parameters())
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert points >= len(steps) - 1  # the last step may have been interrupted
        num_points.add(points)
    assert num_points >= {0, 1, 3, 4}

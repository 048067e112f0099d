"""Bad arguments of `attach`: the error, its message, and that nothing has changed."""

import random
import re

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from ignite_lrfinder import FastaiLRFinder


class OptimizerWith:
    """An optimizer with any parameter groups."""

    def __init__(self, param_groups: object) -> None:
        self.param_groups = param_groups

    def step(self) -> None:
        pass

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


MODEL = nn.Linear(2, 1)
OPTIMIZER = torch.optim.SGD([{"params": [MODEL.weight]}, {"params": [MODEL.bias]}], lr=1e-3)

REFUSED: dict[str, list[tuple[object, type[Exception]]]] = {
    "num_iter": [
        *[(value, ValueError) for value in (0, -1, np.int64(0))],
        *[(value, TypeError) for value in (1.5, 10.0, "3", True, [3], float("nan"))],
    ],
    "start_lr": [
        *[(value, ValueError) for value in (-1, 0, 20.0, [1e-3], [1e-3] * 3, [], [0, 20.0])],
        *[(value, TypeError) for value in ("a", True, np.True_, 1j, {"a": 1}, {1.0}, object())],
        *[(value, TypeError) for value in ([1e-3, None], [1e-3, "x"], np.ones((1, 2)))],
    ],
    "end_lr": [
        *[(value, ValueError) for value in (-1, 0, 1e-5, float("nan"), float("inf"), -np.inf)],
        *[(value, ValueError) for value in ([1.0], [1.0] * 3, [0, 0], [1e-5, 1.0], [1.0, np.nan])],
        *[(value, TypeError) for value in (None, "a", True, 1j, [1.0, None], [True, 1.0])],
    ],
    "step_mode": [
        *[(value, ValueError) for value in ("foo", "EXP", "")],
        *[(value, TypeError) for value in (None, 5, np.array([1, 2]))],
    ],
    "smooth_f": [
        *[(value, ValueError) for value in (-0.1, 1, 1.5, float("nan"))],
        *[(value, TypeError) for value in ("a", None, True, [0.1], np.array("x"))],
    ],
    "diverge_th": [
        *[(value, ValueError) for value in (0.5, -1, float("nan"), -np.inf)],
        *[(value, TypeError) for value in ("a", None, True, [2.0])],
    ],
    "output_transform": [(value, TypeError) for value in (None, 5, "loss")],
    "keep_handlers": [
        *[(value, ValueError) for value in ("foo", [print], ("all",), {"auto"})],
        *[(value, TypeError) for value in (None, 5, True)],
    ],
    "mute_handlers": [
        ([print], ValueError),
        *[(value, TypeError) for value in ("auto", None, 5)],
    ],
    "snapshot": [
        ("disk", ValueError),
        *[(value, TypeError) for value in (None, 5, True, ["cpu"])],
    ],
    "trainer": [(value, TypeError) for value in (None, 5, "trainer", MODEL, Engine)],
    "to_save": [
        *[(value, TypeError) for value in (None, [], "optimizer", [("optimizer", OPTIMIZER)])],
        *[(value, ValueError) for value in ({}, {"model": MODEL})],
        ({"optimizer": OptimizerWith([])}, ValueError),
        *[({"optimizer": value}, TypeError) for value in (None, MODEL, [OPTIMIZER])],
        *[({"optimizer": OptimizerWith(groups)}, TypeError) for groups in ([{}], None, 5, [5])],
        ({"optimizer": OPTIMIZER, "x": 5}, TypeError),
    ],
}
CASES = [
    pytest.param(
        name, value, error, id=f"{name}={value!r:.25}".partition(" at 0x")[0].replace("\n", " ")
    )
    for name, cases in REFUSED.items()
    for value, error in cases
]


def state_of(trainer: Engine) -> list[object]:
    """Collect everything that `attach` could change."""
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        str(np.random.get_state()),  # noqa: NPY002  # the global one
        OPTIMIZER.state_dict(),
        list(OPTIMIZER._optimizer_step_pre_hooks),
        [parameter.tolist() for parameter in MODEL.parameters()],
        dict(vars(trainer.state)),
        {event: list(entries) for event, entries in trainer._event_handlers.items()},
        {name: value for name, value in vars(trainer).items() if name != "_event_handlers"},
    ]


pytestmark = pytest.mark.filterwarnings("ignore:The block of attach must run:UserWarning")


@pytest.fixture
def trainer() -> Engine:
    """Return a trainer with a handler."""
    engine = Engine(lambda engine, batch: 1.0)
    engine.add_event_handler(Events.STARTED, lambda: None)
    return engine


@pytest.mark.parametrize(("name", "value", "error"), CASES)
def test_a_bad_argument_is_refused_before_anything_changes(
    trainer: Engine, name: str, value: object, error: type[Exception]
) -> None:
    """The message names the requirement, the value and a remedy; nothing has changed."""
    before = state_of(trainer)
    arguments = {"trainer": trainer, "to_save": {"optimizer": OPTIMIZER}, name: value}
    with (
        pytest.raises(error) as caught,
        FastaiLRFinder().attach(**arguments),
    ):
        pass
    assert type(caught.value) is error
    form = r"(\S+) must be (.+), got (.+?)\. (.{10,})"
    match = re.fullmatch(form, str(caught.value), re.DOTALL)
    assert match is not None
    named, _, got, remedy = match.groups()
    assert named.partition("[")[0] in (name, "end_lr" if name == "start_lr" else name)
    assert got
    assert remedy.endswith((".", ". ", "}", ">."))
    assert state_of(trainer) == before


ACCEPTED: dict[str, list[object]] = {
    "num_iter": [None, 1, np.int32(5), 10**4],
    "start_lr": [None, 1e-5, np.float32(1e-5), [1e-5, 1e-4], (1e-5, 1e-4), torch.tensor(1e-5)],
    "end_lr": [1, 1.5, np.int64(2), [1, 2], np.array([1.0, 2.0]), range(1, 3)],
    "smooth_f": [0, 0.0, 0.99, np.float64(0.5)],
    "diverge_th": [1, 5, float("inf"), np.float32(2)],
    "keep_handlers": ["auto", "all", "none", [], set()],
    "mute_handlers": [(), [], set()],
    "snapshot": ["cpu", "device"],
    "step_mode": ["exp", "linear"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}={value!r:.25}")
        for name, values in ACCEPTED.items()
        for value in values
    ],
)
def test_a_valid_argument_is_accepted(trainer: Engine, name: str, value: object) -> None:
    """The closed ends of each interval and every kind of number are accepted."""
    with FastaiLRFinder().attach(trainer, {"optimizer": OPTIMIZER}, **{name: value}) as attached:  # type: ignore[arg-type]
        assert attached is trainer


@pytest.mark.parametrize(
    "event", [Events.STARTED, Events.ITERATION_COMPLETED(every=2)], ids=["plain", "filtered"]
)
def test_a_handler_of_the_trainer_is_accepted_in_keep_handlers(
    trainer: Engine, event: Events
) -> None:
    """A handler of the trainer can be named, even on a filtered event."""

    def handler() -> None:
        pass

    trainer.add_event_handler(event, handler)
    with FastaiLRFinder().attach(trainer, {"optimizer": OPTIMIZER}, keep_handlers=[handler]):
        pass


def test_an_object_that_takes_several_lines_is_shown_by_its_type(trainer: Engine) -> None:
    """A model would fill the screen."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with (
        pytest.raises(TypeError, match=r"got Sequential\. Pass"),
        FastaiLRFinder().attach(trainer, model),  # type: ignore[arg-type]  # what it is about
    ):
        pass

"""All that a sweep may change is captured and restored, and Ctrl-C is deferred."""

import gc
import random
import weakref
from typing import Any, Literal

import numpy as np
import pytest
import torch
from conftest import entries_of
from ignite.engine import Engine
from torch import nn, optim
from torch.utils.data import DataLoader

from ignite_lrfinder import LRFinderError
from ignite_lrfinder.snapshot.snapshot import Snapshot, tensors

PLACES: list[Literal["cpu", "device"]] = ["cpu", "device"]


class Known:
    """An object with more state than its state dict tells."""

    def __init__(self) -> None:
        self.values = [1]
        self.weight = torch.ones(2)
        self.untold = {"a": 1}
        self.num_loaded = 0

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "weight": self.weight}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values = list(state_dict["values"])
        self.num_loaded += 1


class Failing(Known):
    """An object that cannot be loaded again."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        raise self.error


class Hidden:
    """State that no attribute, container or closure shows: only the state dict knows it."""

    def __init__(self) -> None:
        self.put(1)

    def get(self) -> Any:
        return entries_of(id(self))[0]

    def put(self, value: Any) -> None:
        entries_of(id(self))[:] = [value]

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.get()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.put(state_dict["value"])


class Lossy(Known):
    """An object whose `load_state_dict` empties what it is given, as some do."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state_dict["values"].clear()
        state_dict.clear()


def make_trainer() -> Engine:
    """Make a trainer that does nothing."""
    return Engine(lambda engine, batch: None)


def trained() -> tuple[nn.Module, optim.Optimizer]:
    """Make a model with buffers and an optimizer with state."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    step(model, optimizer)
    return model, optimizer


def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
    """Take one step, and leave the gradients."""
    optimizer.zero_grad()
    model(torch.randn(5, 3)).pow(2).mean().backward()
    optimizer.step()


def bytes_of(model: nn.Module, optimizer: optim.Optimizer) -> list[bytes]:
    """Read the parameters, buffers, gradients and optimizer state bit for bit."""
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [p.grad for p in model.parameters() if p.grad is not None]
    tensors += [t for p in model.parameters() for t in optimizer.state[p].values()]
    return [t.detach().numpy().tobytes() for t in tensors]


@pytest.mark.parametrize("place", PLACES)
def test_a_model_and_its_optimizer_come_back(place: Literal["cpu", "device"]) -> None:
    """Tensors, modes, hyper-parameters and hooks are as before a few steps."""
    model, optimizer = trained()
    before = bytes_of(model, optimizer)
    snapshot = Snapshot(make_trainer(), {"model": model, "optimizer": optimizer}, place)
    for _ in range(3):
        step(model, optimizer)
    model.eval()
    optimizer.param_groups[0]["lr"] = 9.0
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    model.register_buffer("new", torch.zeros(1))
    model.register_forward_hook(lambda *args: None)
    assert bytes_of(model, optimizer) != before
    snapshot.restore()
    assert bytes_of(model, optimizer) == before
    assert all(module.training for module in model.modules())
    assert [group["lr"] for group in optimizer.param_groups] == [0.1]
    assert not hasattr(model, "new")
    assert not model._forward_hooks


def test_devices_are_done_before_anything_is_copied_and_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Work on other streams ends before values are copied or restored."""
    model, optimizer = trained()
    other = nn.Linear(1, 1)  # of no object in `to_save`
    seen: list[bytes] = []

    def wait_for(devices: set[torch.device]) -> None:
        assert list(devices) == [torch.device("cpu")]
        seen.append(other.weight.detach().numpy().tobytes())
        if len(seen) == 1:
            with torch.no_grad():
                other.weight.fill_(7.0)

    monkeypatch.setattr(tensors, "synchronize", wait_for)
    snapshot = Snapshot(make_trainer(), {"optimizer": optimizer}, "cpu", others=(model, other))
    with torch.no_grad():
        other.weight.fill_(8.0)
    stepped = other.weight.detach().numpy().tobytes()
    snapshot.restore()
    assert other.weight.item() == 7.0
    assert seen[1:] == [stepped, other.weight.detach().numpy().tobytes()]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_gradients_are_recorded_again_if_they_were(is_enabled: bool) -> None:
    """A validation that fails before it turns gradients on again leaves them as they were."""
    model, optimizer = trained()
    with torch.set_grad_enabled(is_enabled):
        snapshot = Snapshot(make_trainer(), {"model": model, "optimizer": optimizer}, "cpu")
        torch.set_grad_enabled(not is_enabled)
        snapshot.restore()
        assert torch.is_grad_enabled() is is_enabled


def test_parameters_come_back_by_the_optimizer_alone() -> None:
    """An optimizer brings its parameters and their gradients along."""
    model, optimizer = trained()
    before = [p.tolist() for p in model.parameters()]
    snapshot = Snapshot(make_trainer(), {"optimizer": optimizer}, "cpu")
    step(model, optimizer)
    snapshot.restore()
    assert [p.tolist() for p in model.parameters()] == before


def test_a_scripted_module_comes_back() -> None:
    """Its tensors are outside Python's attributes, and are found."""
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    snapshot = Snapshot(make_trainer(), {"model": model}, "cpu")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    snapshot.restore()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_attributes_and_state_of_the_trainer_come_back() -> None:
    """What a trainer has on it and on its state is as before: changed, added or removed."""
    trainer = make_trainer()
    state = trainer.state
    trainer.log = [1]  # type: ignore[attr-defined]  # users do
    state.gone, state.history = 1, [1]  # type: ignore[attr-defined]
    snapshot = Snapshot(trainer, {}, "cpu")
    trainer.log.append(2)  # type: ignore[attr-defined]
    trainer.extra = 1  # type: ignore[attr-defined]
    del state.gone  # type: ignore[attr-defined]
    state.history.append(2)  # type: ignore[attr-defined]
    trainer.run([0, 1], max_epochs=2)
    trainer.state = type(state)()
    snapshot.restore()
    assert trainer.state is state
    assert (state.iteration, state.epoch, state.max_epochs) == (0, 0, None)
    assert (state.gone, state.history) == (1, [1])  # type: ignore[attr-defined]
    assert trainer.log == [1]  # type: ignore[attr-defined]
    assert not hasattr(trainer, "extra")


def test_another_engine_in_to_save_gets_its_state_back() -> None:
    """An evaluator that ran in between has the counters and metrics of before."""
    evaluator = make_trainer()
    evaluator.run([0])
    evaluator.state.metrics["accuracy"] = 0.5
    snapshot = Snapshot(make_trainer(), {"evaluator": evaluator}, "cpu")
    evaluator.run([0, 1], max_epochs=3)
    evaluator.state.metrics["accuracy"] = 0.1
    snapshot.restore()
    assert (evaluator.state.iteration, evaluator.state.epoch) == (1, 1)
    assert evaluator.state.metrics == {"accuracy": 0.5}


@pytest.mark.parametrize("make", [Known, Lossy], ids=["plain", "lossy"])
def test_an_object_is_loaded_and_its_attributes_put_back(make: type[Known]) -> None:
    """The same containers and tensors hold what they held, those no state dict tells as well."""
    obj = make()
    values, weight = obj.values, obj.weight
    snapshot = Snapshot(make_trainer(), {"obj": obj}, "cpu")
    obj.values.append(2)
    obj.weight.zero_()
    obj.untold["b"] = 2
    snapshot.restore()
    assert obj.values is values
    assert obj.weight is weight
    assert (values, weight.tolist(), obj.untold, obj.num_loaded) == ([1], [1, 1], {"a": 1}, 0)


def test_what_only_a_state_dict_knows_comes_back() -> None:
    """`load_state_dict` is called with the state of before."""
    obj = Hidden()
    snapshot = Snapshot(make_trainer(), {"obj": obj}, "cpu")
    obj.put(5)
    snapshot.restore()
    assert obj.get() == 1


def test_a_state_dict_that_shares_its_containers_is_copied() -> None:
    """An object that empties its own list while it loads still finds what was in it."""

    class Sharing(Hidden):
        shared: list[int]

        def state_dict(self) -> Any:
            return {"deep": [{"value": self.shared}]}

        def load_state_dict(self, state_dict: Any) -> None:
            self.shared.clear()
            self.put(list(state_dict["deep"][0]["value"]))

    obj = Sharing()
    shared = obj.shared = [1]
    snapshot = Snapshot(make_trainer(), {"obj": obj}, "cpu")
    shared.append(2)
    snapshot.restore()
    assert obj.get() == [1]


def draw() -> tuple[float, float, float]:
    """Draw a number from every global random generator."""
    return random.gauss(0, 1), np.random.standard_normal(), torch.randn(()).item()  # noqa: NPY002  # the global one


def test_random_state_comes_back_last() -> None:
    """Every global generator goes on where it was, whatever a `load_state_dict` draws."""

    class Drawing(Known):
        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            draw()

    draw()
    snapshot = Snapshot(make_trainer(), {"obj": Drawing()}, "cpu")
    expected = [draw() for _ in range(3)]
    snapshot.restore()
    assert [draw() for _ in range(3)] == expected


def test_added_data_is_restored_to_its_state_when_it_was_added() -> None:
    """A loader's generator comes back to where it was at `add_data`."""
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(range(8), shuffle=True, generator=generator)  # type: ignore[arg-type]  # a range will do
    snapshot = Snapshot(make_trainer(), {}, "cpu")
    list(loader)
    before = generator.get_state()
    snapshot.add_data(loader)
    list(loader)
    snapshot.restore()
    assert torch.equal(generator.get_state(), before)


def test_a_loader_of_the_trainer_is_restored() -> None:
    """A second loader on `trainer.state`, which a handler may draw from, goes on where it was."""
    generator = torch.Generator().manual_seed(1)
    trainer = make_trainer()
    loader = DataLoader(range(8), shuffle=True, generator=generator)  # type: ignore[arg-type]  # a range will do
    trainer.state.extra = [loader]  # type: ignore[attr-defined]  # users do
    before = generator.get_state()
    snapshot = Snapshot(trainer, {}, "cpu")
    list(loader)
    snapshot.restore()
    assert torch.equal(generator.get_state(), before)


def test_further_objects_come_back_and_opaque_ones_do_not() -> None:
    """`others` are restored; what is opaque stays as it was left, even on the trainer."""
    trainer, kept, opaque = make_trainer(), {"a": 1}, {"a": 1}
    trainer.opaque = opaque  # type: ignore[attr-defined]
    snapshot = Snapshot(trainer, {}, "cpu", others=(kept,), opaque=(opaque,))
    kept["a"] = opaque["a"] = 2
    snapshot.restore()
    assert kept == {"a": 1}
    assert opaque == {"a": 2}


def test_one_error_names_all_that_failed() -> None:
    """The others are restored, and the error says what is not and what to do."""
    obj = Known()
    to_save = {"a": Failing(OSError("disk")), "obj": obj, "z": Failing(ValueError("shape"))}
    trainer = make_trainer()
    snapshot = Snapshot(trainer, to_save, "cpu")
    obj.values.append(2)
    trainer.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(
        LRFinderError, match=r"a: OSError.*z: ValueError.*from your own checkpoint"
    ) as info:
        snapshot.restore()
    assert isinstance(info.value.__cause__, OSError)
    assert obj.values == [1]
    assert not hasattr(trainer, "extra")


def test_a_part_that_refuses_is_named() -> None:
    """What cannot be written back in place is an error of its own."""

    class Refusing(random.Random):
        def setstate(self, state: object) -> None:
            raise OSError("refused")

    obj = Known()
    obj.values = [Refusing()]
    snapshot = Snapshot(make_trainer(), {}, "cpu", others=(obj,))
    with pytest.raises(LRFinderError, match=r"handlers: OSError\('refused'\)"):
        snapshot.restore()


def test_ctrl_c_out_of_an_object_comes_out_after_the_restore() -> None:
    """An interrupt that a `load_state_dict` raises stays one, and comes when all is done."""
    obj = Known()
    snapshot = Snapshot(make_trainer(), {"a": Failing(KeyboardInterrupt()), "obj": obj}, "cpu")
    obj.values.append(2)
    with pytest.raises(KeyboardInterrupt):
        snapshot.restore()
    assert obj.values == [1]


def test_ctrl_c_that_led_to_the_restore_stays_ctrl_c() -> None:
    """Where the block ends by an interrupt, a failing restore is its cause and does not hide it."""
    snapshot = Snapshot(make_trainer(), {"a": Failing(OSError("disk"))}, "cpu")
    with pytest.raises(KeyboardInterrupt) as info:  # noqa: PT012  # the restore comes after it
        try:
            raise KeyboardInterrupt
        finally:
            snapshot.restore()
    assert isinstance(info.value.__cause__, LRFinderError)
    assert "a: OSError" in str(info.value.__cause__)


def test_restore_releases_the_classes_of_a_training() -> None:
    """What the methods of a local class enclose is free once the training is gone."""

    def capture() -> weakref.ref[nn.Module]:
        model = nn.Linear(1, 1)

        class Step:
            def __call__(self, engine: Engine, batch: object) -> object:
                return model

        Snapshot(Engine(Step()), {}, "cpu").restore()
        return weakref.ref(model)

    reference = capture()
    gc.collect()
    assert reference() is None

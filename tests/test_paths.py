"""Paths name objects as a user knows them."""

import concurrent.futures

from torch import nn

from ignite_lrfinder.snapshot.paths import paths_to


class Found:
    """What is looked for."""


class Holder:
    def __init__(self, held: object) -> None:
        self._held = held


class Module(nn.Module):
    def __init__(self, found: Found) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), nn.Linear(1, 1)])
        self._found = found


def test_a_path_goes_by_attributes_keys_and_positions() -> None:
    """It is what a user would write, with the private attributes of user code."""
    found = Found()
    root = Holder({"a": [0, Holder(found)]})
    assert paths_to([found], [("step", root)]) == {id(found): "step._held['a'][1]._held"}
    assert paths_to([found], [("model", Module(found))]) == {id(found): "model._found"}


def test_a_path_through_a_module_names_its_submodules() -> None:
    """As attributes, although it keeps them in a dict."""
    found = Found()
    inner = Module(found)
    assert paths_to([found], [("net", nn.Sequential(inner))]) == {id(found): "net.0._found"}
    linear = inner.layers[1]
    assert paths_to([linear], [("model", inner)]) == {id(linear): "model.layers.1"}


def test_a_path_ends_at_the_private_attributes_of_a_library() -> None:
    """A user can create the object again that has them, but not them."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        queue = pool._work_queue
        assert paths_to([queue], [("step", [pool])]) == {id(queue): "step[0]"}

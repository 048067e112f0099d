"""Draw the pictures of README.md and of the documentation, each for light and for dark pages.

    python docs/figures.py
    python docs/figures.py curve_good regret

It requires scikit-learn and writes `NAME.png` and `NAME-dark.png` to `docs/images` in about a
minute. Curves come from small real training runs, the pictures of the gallery and the tutorial from
the code on their pages, and the regret from the table on the page "Benchmarks", which `make
benchmark` prints. `make benchmark` draws `trust.png` itself; its dark version is made here.

Each picture carries a description of what it shows in its metadata. The tests draw it again and
compare the descriptions, so a picture that is older than the code that draws it fails.
"""

import argparse
import contextlib
import functools
import io
import os
import re
import runpy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from ignite.engine import create_supervised_trainer
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ignite_lrfinder import LRFinderResult, find_lr

DOCS = Path(__file__).parent
SEED = 0
# The dark background of the theme of the documentation, close to those of the usual forges.
DARK = "#131416"
STYLES: Mapping[str, Any] = MappingProxyType(
    {
        "": "default",
        "-dark": [
            "dark_background",
            {f"{part}.facecolor": DARK for part in ("axes", "figure", "savefig", "legend")},
        ],
    }
)
"""The matplotlib styles by the suffixes of their files."""
# Where the figure of the regret shows what takes no iterations, and how far apart labels are.
NO_ITERATIONS = 25
LABEL_DISTANCE = 0.2


def sweep(
    loss_fn: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    *,
    batch_size: int = 64,
    num_iter: int = 100,
    start_lr: float = 1e-6,
    end_lr: float = 100.0,
    verify: bool = False,
) -> LRFinderResult:
    """Sweep a small network on scikit-learn's digits data set."""
    torch.manual_seed(SEED)
    pixels, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(pixels).float() / 16, torch.tensor(labels))
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    trainer = create_supervised_trainer(model, optimizer, loss_fn)
    with warnings.catch_warnings():
        # Some of these figures show a loss that does not diverge.
        warnings.filterwarnings("ignore", "Run completed without loss diverging")
        return find_lr(
            trainer,
            optimizer,
            loader,
            num_iter=num_iter,
            start_lr=start_lr,
            end_lr=end_lr,
            verify=verify,
        )


def hand_written_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy, or NaN as soon as a probability underflows to 0."""
    one_hot = nn.functional.one_hot(labels, scores.shape[1])
    return -(one_hot * scores.softmax(1).log()).sum(1).mean()


SWEEPS: Mapping[str, Callable[[], LRFinderResult]] = MappingProxyType(
    {
        "good": sweep,
        "noisy": lambda: sweep(batch_size=4),
        "noisy_slow": lambda: sweep(batch_size=4, num_iter=400),
        "flat": lambda: sweep(end_lr=1e-3),
        "not_diverging": lambda: sweep(end_lr=0.1),
        "rising": lambda: sweep(start_lr=1.0),
        "nan": lambda: sweep(hand_written_cross_entropy),
        "verified": lambda: sweep(batch_size=4, verify=True),
    }
)
"""The sweeps of the page "Reading the curve"."""


def draw_curve(name: str, folder: Path) -> LRFinderResult:
    """Run and draw a sweep of the page "Reading the curve", and return its result."""
    result = SWEEPS[name]()

    def plot() -> None:
        if result.trials:
            result.plot_trials(figsize=(9.0, 4.6))
        else:
            result.plot(figsize=(7.0, 4.6))

    with warnings.catch_warnings():
        # Some of these figures show a curve without a suggestion.
        warnings.filterwarnings("ignore", "No suggestion is shown")
        save(plot, f"curve_{name}", folder)
    return result


def draw_digits(folder: Path) -> LRFinderResult:
    """Run and draw the sweep of the demo, and return its result."""
    demo = runpy.run_path(str(DOCS.parent / "examples" / "digits.py"))
    torch.manual_seed(demo["SEED"])
    loader, _ = demo["create_loaders"]()
    model = demo["create_model"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=demo["GUESSED_LR"], momentum=0.9)
    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())
    result = find_lr(trainer, optimizer, loader, start_lr=1e-6)
    save(lambda: result.plot(figsize=(8.0, 5.0)), "digits", folder)
    return result


def draw_page(page: str, folder: Path, styles: Mapping[str, Any] = STYLES) -> None:
    """Run the code of a page in each style, and save the figure of each block with a picture."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    # A block of code, its output if it is shown, and the picture below if there is one.
    pattern = (
        r"```python\n(.*?)```\n(?:\n```text\n[^`]*```\n)?(?:\n!\[[^\]]*\]\(images/(\w+)\.png\))?"
    )
    blocks = re.findall(pattern, text, re.DOTALL)
    folder, before = folder.absolute(), Path.cwd()
    for suffix, style in styles.items():
        scratch = tempfile.TemporaryDirectory()
        with plt.style.context(style), scratch, contextlib.redirect_stdout(io.StringIO()):
            os.chdir(scratch.name)  # pages save files
            try:
                names: dict[str, Any] = {}
                for code, name in blocks:
                    exec(code, names)
                    if name:
                        write(plt.gcf(), folder / f"{name}{suffix}.png")
                    plt.close("all")
            finally:
                os.chdir(before)


def draw_regret(folder: Path) -> None:
    """Draw the first table of the page "Benchmarks": what each finder costs, and what it loses."""
    save(lambda: regret_over_iterations(list(regret_rows())), "regret", folder)


def regret_rows() -> Iterator[tuple[str, int, list[tuple[float, float]]]]:
    """Return each finder, its iterations, and its mean and worst regret under both schedules."""
    text, *_ = (DOCS / "benchmarks.md").read_text(encoding="utf-8").split("\n## ")
    regret = r"([\d.]+) / ([\d.]+)"
    pattern = rf"^\| (.*?) \| {regret} \| {regret} \| \d+ \| \d+ \| (\d+)"
    for name, *regrets, num_iter in re.findall(pattern, text, re.M):
        if "val_loss" in name:  # it costs more than its iterations say
            continue
        constant, decay = [float(r) for r in regrets[:2]], [float(r) for r in regrets[2:]]
        yield name, int(num_iter), [(constant[0], constant[1]), (decay[0], decay[1])]


def regret_over_iterations(rows: list[tuple[str, int, list[tuple[float, float]]]]) -> Figure:
    """Draw one panel per schedule: the mean as a point, the worst training above it as a tick.

    A line shows the mean of the complete grid search, whose iterations are far to the right.
    """
    figure, panels = plt.subplots(2, 1, figsize=(8.6, 8.0), sharex=True, layout="constrained")
    *rows, (searched, _, bounds) = rows
    names = [name for name, *_ in rows]
    is_ours = np.array([name.startswith("ours") for name in names])
    x = np.array([max(num_iter, NO_ITERATIONS) for _, num_iter, _ in rows])
    for k, (ax, title) in enumerate(zip(panels, ("constant rate", "cosine decay"), strict=True)):
        mean, worst = np.array([regrets[k] for _, _, regrets in rows]).T
        for ours, color in ((False, "0.55"), (True, "C0")):
            chosen = is_ours == ours
            ax.vlines(x[chosen], mean[chosen], worst[chosen], color=color, alpha=0.3)
            ax.plot(x[chosen], worst[chosen], "_", color=color, alpha=0.6)
            ax.plot(x[chosen], mean[chosen], "o", color=color)
        label_points(ax, x, mean, names, is_ours)
        ax.axhline(bounds[k][0], color="0.55", linestyle=":", linewidth=1)
        ax.annotate(
            f"{searched}: trained to the end at every rate, once",
            (0.01, bounds[k][0]),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 4),
            fontsize="small",
        )
        ax.set_title(title)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(0.7 * NO_ITERATIONS, 2500)
        ax.set_ylim(0.004, 1.3)
        ax.set_xticks([NO_ITERATIONS, 100, 300, 800], ["none", "100", "300", "800"])
        ax.set_xticks([], minor=True)
        ax.set_yticks([0.01, 0.03, 0.1, 0.3, 1.0], ["0.01", "0.03", "0.1", "0.3", "1"])
        ax.set_yticks([], minor=True)
        ax.grid(axis="y", alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_ylabel("regret: point = mean, tick = worst")
    panels[1].set_xlabel("iterations that the search takes (median)")
    figure.suptitle("Share of the achievable gain lost at the suggestion (lower is better)")
    return figure


def label_points(
    ax: Axes, x: NDArray[Any], y: NDArray[Any], names: list[str], is_ours: NDArray[np.bool_]
) -> None:
    """Write names to the right of points, moved apart where they would overlap."""
    columns = np.round(2 * np.log2(x))
    for column in np.unique(columns):
        members = np.flatnonzero(columns == column)
        order = members[np.argsort(y[members])]
        at = np.log(y[order])
        for i in range(1, len(at)):
            at[i] = max(at[i], at[i - 1] + LABEL_DISTANCE)
        for i, position in zip(order, np.exp(at), strict=True):
            look: dict[str, Any] = {"color": "C0", "fontweight": "bold"} if is_ours[i] else {}
            place = (1.15 * x[i], position)
            ax.annotate(names[i], (x[i], y[i]), place, va="center", fontsize="small", **look)


def draw_trust(folder: Path) -> None:
    """Make the dark version of the figure of `make benchmark`: light and dark change places."""
    light = plt.imread(DOCS / "images" / "trust.png")[..., :3]
    high, low = light.max(2, keepdims=True), light.min(2, keepdims=True)
    # The hue stays; colors are a little stronger, so that the faintest stands out.
    dark = (1 - high + 1.6 * (light - low)).clip(0, 1)
    background = np.array(to_rgb(DARK))
    plt.imsave(folder / "trust-dark.png", background + (1 - background) * dark)


def save(plot: Callable[[], object], name: str, folder: Path) -> None:
    """Draw a figure in both styles."""
    for suffix, style in STYLES.items():
        with plt.style.context(style):
            plot()
            write(plt.gcf(), folder / f"{name}{suffix}.png")
            plt.close()


def write(figure: Figure, path: Path) -> None:
    """Write a figure with its description."""
    figure.savefig(path, dpi=110, metadata={"Description": describe(figure)})


def describe(figure: Figure) -> str:
    """Return one line for each thing that is drawn, with its look and its words."""
    width, height = figure.get_size_inches()
    lines = [f"figure {width:g} {height:g} {to_hex(figure.get_facecolor())}"]
    for ax in figure.axes:
        lines.append(f"axes {ax.get_xscale()} {ax.get_yscale()} {to_hex(ax.get_facecolor())}")
        drawn = [*ax.lines, *ax.patches, *ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]
        lines += [describe_artist(artist) for artist in drawn]
        legend = ax.get_legend()
        lines += [f"legend {text.get_text()}" for text in legend.get_texts()] if legend else []
    return "\n".join(lines)


def describe_artist(artist: Artist) -> str:
    """Return what is drawn, how it looks, and its words."""
    names = ("color", "facecolor", "alpha", "linestyle", "linewidth", "marker", "markersize")
    look = {name: getattr(artist, f"get_{name}", lambda: None)() for name in names}
    words = artist.get_text() if isinstance(artist, Text) else artist.get_label()
    values = [
        to_hex(value) if "color" in name else str(value)
        for name, value in look.items()
        if value is not None
    ]
    return " ".join([type(artist).__name__, *values, str(words)])


PICTURES: Mapping[str, Callable[[Path], object]] = MappingProxyType(
    {
        **{f"curve_{name}": functools.partial(draw_curve, name) for name in SWEEPS},
        "digits": draw_digits,
        "gallery": functools.partial(draw_page, "gallery"),
        "regret": draw_regret,
        "trust": draw_trust,
        "tutorial": functools.partial(draw_page, "tutorial"),
    }
)
"""What can be drawn, by name."""


def main() -> None:
    """Draw the given pictures, or all of them, and print the results of the curves."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}")
    parser.add_argument("--folder", type=Path, default=DOCS / "images", help="the output folder")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(PICTURES)
    if unknown:
        parser.error(f"NAME must be one of {sorted(PICTURES)}, got {sorted(unknown)}")
    for name in arguments.names or PICTURES:
        print(f"{name}\n{PICTURES[name](arguments.folder) or 'drawn'}\n", flush=True)


if __name__ == "__main__":
    main()

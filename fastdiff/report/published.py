"""The published benchmark script's CSV: many rows merged, and the bar chart over them.

Its columns come first, under their names and in their order; ours stand behind them. Everything goes by a column's
name, nothing by its position.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fastdiff.record.errors import UserError
from fastdiff.record.reading import entries_of, read_bytes
from fastdiff.record.writing import write_text
from fastdiff.report import chart
from fastdiff.report.chart import Bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

Row = dict[str, str]
LIBRARIES = ("torch", "triton", "diffusers", "transformers", "torchao")

TIME, LOW, HIGH = "time (secs)", "lower quartile (secs)", "upper quartile (secs)"
MEMORY, WEIGHTS = "memory (gbs)", "weights (gbs)"
DENOISER = ("compile_unet", "compile_transformer")
"""The script for PixArt calls the column by the second name."""
THEIRS = (
    "pipeline_cls",
    "ckpt_id",
    "bf16",
    "sdpa",
    "fused_qkv_projections",
    "upcast_vae",
    "batch_size",
    "num_inference_steps",
    "compile_unet",
    "compile_vae",
    "compile_mode",
    "change_comp_config",
    "do_quant",
    TIME,
    "memory (gbs)",
    "actual_gpu_memory (gbs)",
    "tag",
)
LARGEST_BYTES = 16 * 1024**2
"""A row has about a kB; a file beyond this is something else."""


# -- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def kept(folder: Path, name: str) -> Iterator[Path]:
    """A place for files that belong together: all of them reach `folder`, or none, and the CSV is the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}.", dir=folder) as place:
        yield Path(place)
        for path in sorted(Path(place).iterdir(), key=lambda path: (path.suffix == ".csv", path.name)):
            path.replace(folder / path.name)


def collate(
    folder: Path,
    out: Path,
    charts: Sequence[Path],
    title: str = "",
    *,
    order: Sequence[str] = (),
    memory: bool = False,
) -> list[str]:
    """Merges what is in `folder` into `out` and draws `charts`; says what it made of how much.

    `order` names stages that come first, in this order. `memory` draws the peaks instead of the times.
    """
    for path in charts:
        chart.require_picture(path)
    places = {stage: place for place, stage in enumerate(order)}
    rows = sorted(read(folder, besides=out), key=lambda row: places.get(row.get("stage", ""), len(places)))
    figure = draw(rows, title, memory=memory)
    with kept(out.parent, out.name) as place:
        write(place / out.name, rows)
    for path in charts:
        with kept(path.parent, path.name) as place:
            chart.save(figure, place / path.name)
    return [f"rows   {out} ({len(rows)})", *(f"chart  {path}" for path in charts)]


def write(path: Path, rows: Sequence[Row]) -> None:
    write_text(path, as_csv(rows))


def as_csv(rows: Sequence[Row]) -> str:
    """Every column that a row has; what a row does not know stays empty."""
    given = {name for row in rows for name in row}
    # The PixArt script's name for a column stands where its twin stands.
    theirs = [other for name in THEIRS for other in (DENOISER if name in DENOISER else (name,)) if other in given]
    names = [*theirs, *dict.fromkeys(name for row in rows for name in row if name not in theirs)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(folder: Path, besides: Path) -> list[Row]:
    """The rows of every CSV in `folder`, in a stable order; `besides` is the file into which they are merged."""
    if not folder.is_dir():
        raise UserError("file", f"there is no folder {folder}; name the one that `fastdiff run --out` wrote to.")
    merged = os.path.realpath(besides)  # unlike resolve, it bears a link to itself
    paths = [path for path in entries_of(folder) if path.suffix == ".csv" and os.path.realpath(path) != merged]
    if not paths:
        raise UserError(
            "file", f"{folder} holds no CSV to collate; measure something first: fastdiff run --out {folder}"
        )
    found: list[Row] = []
    origin: dict[tuple[tuple[str, str], ...], Path] = {}
    for path in paths:
        for row in _rows(path):
            known = origin.setdefault(tuple(sorted(row.items())), path)
            if known != path:
                raise UserError("file", f"{known} and {path} hold the same row; take one of them out of the folder.")
            found.append(row)
    return sorted(found, key=_place)


def _rows(path: Path) -> list[Row]:
    """A file that ends in the middle, or is none of ours and none of theirs, is refused by its name."""
    try:
        text = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            "file", f"{path} is no whole CSV ({error}); measure that setting again, or move the file."
        ) from None
    names, *given = lines or [[]]
    missing = [name for name in THEIRS if name not in names and not (name in DENOISER and set(DENOISER) & set(names))]
    if missing:
        raise UserError(
            "file", f"{path} is no file of results: it has no column {missing[0]!r}; take it out of the folder."
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError("file", f"{path} has two columns called {twice[0]!r}; take it out of the folder.")
    if not given or len(given[-1]) != len(names) or not text.endswith("\n"):
        raise UserError("file", f"{path} ends in the middle; measure that setting again, or take it out of the folder.")
    for number, cells in enumerate(given, start=2):
        if len(cells) != len(names):
            raise UserError(
                "file", f"{path}: row {number} has {len(cells)} cells for {len(names)} columns; mend or remove it."
            )
        _check(path, number, dict(zip(names, cells, strict=True)))
    return [dict(zip(names, cells, strict=True)) for cells in given]


def _check(path: Path, number: int, row: Row) -> None:
    """What is drawn and sorted by must be what it says."""
    times = [name for name in (TIME, LOW, HIGH) if name == TIME or row.get(name)]
    for name in times:
        seconds = _number(row[name])
        if not (seconds > 0 and math.isfinite(seconds)):
            raise UserError("file", f"{path}: row {number} has the {name} {row[name]!r}; expected a number above zero.")
    for name in ("batch_size", "num_inference_steps"):
        if not row[name].isdecimal():
            raise UserError("file", f"{path}: row {number} has the {name} {row[name]!r}; expected a whole number.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _place(row: Row) -> tuple[object, ...]:
    """Models and devices together, and within them the plain pipeline first: False sorts before True."""
    numbers = [_number(row.get(name) or "0") for name in ("batch_size", "num_inference_steps", "size")]
    switches = [row["bf16"], row["sdpa"], _denoiser(row), row["compile_vae"], row["change_comp_config"]]
    rest = [row["compile_mode"], row["fused_qkv_projections"], row["do_quant"], row["upcast_vae"]]
    return (row["ckpt_id"], row.get("device name", ""), *numbers, *switches, *rest, tuple(_words(row).values()))


# -- what differs -----------------------------------------------------------------------------------------------------


def _denoiser(row: Row) -> str:
    return next((row[name] for name in DENOISER if row.get(name)), "")


def _known(name: str, words: str) -> Callable[[Row], str]:
    """The column's value within some words; nothing where a row does not know it, as the original's."""
    return lambda row: words.format(row[name]) if row.get(name) else ""


def _switch(name: str, on: str, off: str = "") -> Callable[[Row], str]:
    return lambda row: on if row.get(name) == "True" else off


def _dtype(row: Row) -> str:
    return row.get("dtype") or ("bfloat16" if row["bf16"] == "True" else "float32")


def _compiled(row: Row) -> str:
    parts = [part for part, on in (("denoiser", _denoiser(row)), ("decoder", row["compile_vae"])) if on == "True"]
    return f"compiled {' and '.join(parts)}" if parts else ""


def _mode(row: Row) -> str:
    return f"mode {row['compile_mode'] or 'default'}" if _compiled(row) else ""


IDEAS: dict[str, Callable[[Row], str]] = {
    "checkpoint": _known("ckpt_id", "{}"),
    "weights": _known("weights", "weights {}"),
    "device": _known("device name", "{}"),
    "stage": _known("stage", "{}"),
    "dtype": _dtype,
    "attention": _switch("sdpa", "SDPA", "no SDPA"),
    "compiled": _compiled,
    "mode": _mode,
    "flags": _switch("change_comp_config", "inductor flags"),
    "fused": _switch("fused_qkv_projections", "fused QKV"),
    "quantized": _known("do_quant", "{}"),
    "upcast": _switch("upcast_vae", "VAE in float32"),
    "tf32": _switch("tf32", "TF32"),
    "batch": _known("batch_size", "batch {}"),
    "steps": _known("num_inference_steps", "{} steps"),
    "size": _known("size", "{} px"),
    "prompt": _known("prompt", '"{}"'),
    **{library: _known(library, f"{library} {{}}") for library in (*LIBRARIES, "fastdiff")},
    "tag": _known("tag", "{}"),
    "script": lambda row: "" if row.get("fastdiff") else "original script",
}
"""What a setting is made of, in words; empty where it is off or where the row does not know it."""

SAID_ANYWAY = ("stage", "dtype", "attention", "compiled", "mode", "flags", "fused", "quantized", "upcast")
"""What tells a setting where there is no other to differ from."""
TITLE = ("checkpoint", "weights", "device", "batch", "steps", "size", "mode", "flags")
OURS = ("weights", "device", "tf32", "size", "prompt", *LIBRARIES, "fastdiff")
"""What the original's rows do not know: there an empty word is no other value, it is no value."""
ABOUT_COMPILED = ("mode", "flags")


def _words(row: Row) -> dict[str, str]:
    return {idea: words(row) for idea, words in IDEAS.items()}


def described(row: Row) -> str:
    """The optimizations of one setting."""
    words = _words(row)
    return ", ".join(words[idea] for idea in SAID_ANYWAY if words[idea])


def labels(rows: Sequence[Row]) -> list[str]:
    """What distinguishes each row, in words: its stage, if that is another one for each setting.

    A fact that only some of the rows have distinguishes none.
    """
    facts = [_words(row) for row in rows]
    settings = {tuple(words.values()) for words in facts}
    if len(settings) > 1 and len({words["stage"] for words in facts} - {""}) == len(settings):
        return [words["stage"] for words in facts]
    differing = [idea for idea in IDEAS if len(_values(idea, facts)) > 1]
    if not differing:
        return [described(row) for row in rows]
    return [", ".join(words[idea] for idea in differing if words[idea]) or "plain" for words in facts]


def _values(idea: str, facts: Sequence[Mapping[str, str]]) -> set[str]:
    """What the rows say of an idea, among those to which it means something."""
    if idea in OURS:
        facts = [words for words in facts if not words["script"]]
    if idea in ABOUT_COMPILED:
        facts = [words for words in facts if words["compiled"]]
    return {words[idea] for words in facts}


# -- the chart --------------------------------------------------------------------------------------------------------

ONE_LADDER = ("checkpoint", "weights", "device", "batch", "steps", "size", "prompt", "script")
"""What bars must share for a factor between them to say something."""


def draw(rows: Sequence[Row], title: str = "", *, memory: bool = False) -> Figure:
    """One bar for each setting, in the rows' order, and its factor over the first one of its ladder.

    Rows of one setting (another process, another night) share a bar: the median of their medians, with whiskers from
    quartile to quartile where known. `memory` draws the peaks instead, weights included.
    """
    settings: dict[tuple[str, ...], list[Row]] = {}
    named: list[str] = []
    for label, row in zip(labels(rows), rows, strict=True):
        same = settings.setdefault(tuple(_words(row).values()), [])
        same.append(row)
        if len(same) == 1:
            named.append(label)
    bars: list[Bar] = []
    firsts: dict[tuple[str, ...], float] = {}
    for label, same in zip(named, settings.values(), strict=True):
        count = f", {len(same)} runs" if len(same) > 1 else ""
        bar = (_memory_bar if memory else _time_bar)(label + count, same)
        words = _words(same[0])
        first = firsts.setdefault(tuple(words[idea] for idea in ONE_LADDER), bar.value)
        bars.append(bar if first == bar.value or not bar.value else replace(bar, factor=first / bar.value))
    axis = "GiB at the peak, weights included" if memory else "seconds a call (median; whiskers: quartiles, if known)"
    return chart.draw(bars, title or _title(rows), axis)


def _time_bar(label: str, same: Sequence[Row]) -> Bar:
    middle = median(float(row[TIME]) for row in same)
    low = min((float(row[LOW]) for row in same if row.get(LOW)), default=middle)
    high = max((float(row[HIGH]) for row in same if row.get(HIGH)), default=middle)
    return Bar(label, middle, _seconds(middle), low, high)


def _memory_bar(label: str, same: Sequence[Row]) -> Bar:
    peak = max(float(row[MEMORY] or 0) + float(row.get(WEIGHTS) or 0) for row in same)
    return Bar(label, peak, f"{peak:.3g} GiB", peak, peak)


def _title(rows: Iterable[Row]) -> str:
    """What all of the settings share; what some of them do not know is not shared."""
    facts = [_words(row) for row in rows]
    found = [{words[idea] for words in facts} if idea in OURS else _values(idea, facts) for idea in TITLE]
    return ", ".join(values.pop() for values in found if len(values) == 1 and "" not in values)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


# -- for a person -----------------------------------------------------------------------------------------------------


def summary(row: Row, stem: Path, drawn: str, *, trace: bool) -> list[str]:
    """The result with its units, and where it was kept; `drawn` is the ending of the file of what was drawn."""
    return [
        *figures(row),
        f"row         {stem}.csv",
        f"{'picture' if drawn == 'png' else 'tensors'}     {stem}.{drawn}",
        *([f"trace       {stem}.trace.json"] if trace and not row["stopped"] else []),
    ]


def figures(row: Row) -> list[str]:
    """A stopped measurement may have no memory."""
    spread = ""
    if row[LOW]:
        spread = f" (quartiles {_seconds(float(row[LOW]))} to {_seconds(float(row[HIGH]))}, {row['rounds']} rounds)"
    lines = [f"latency     {_seconds(float(row[TIME]))}{spread}"]
    if row["stopped"]:
        lines.append(f"            stopped {row['stopped']}; the rest was not measured")
    if row["disturbed rounds"] != "0":
        lines.append(
            f"            the machine disturbed {row['disturbed rounds']} of {row['rounds']} rounds; measure again"
        )
    lines.append(f"first call  {_seconds(float(row['first call (secs)']))}")
    if memory := row["memory (gbs)"]:
        lines.append(
            f"memory      {float(memory):.3f} GiB ({row['memory measured as']}), most in {row['where memory peaks']}"
        )
    return [*lines, f"proof       {row['proof']}"]

"""Pipelines and modules of the user's own: a decorated function makes one, and a path names it, so that any process
can.

Knows no torch: a session reads from here what a pipeline is called, what it is asked and which stages it wants.
`loading` has the pipeline made.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.models import IN_FILE, Model, Request
from fastdiff.models.noise import hush
from fastdiff.record.bounds import NAME
from fastdiff.record.budget import Close
from fastdiff.record.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

TEXT, STEP, DECODE = PARTS = ("text", "step", "decode")
"""Of a call, which `parts` may name."""
GIVEN = ("device", "dtype")
"""What a factory, and a function that makes its inputs, may take."""
STEPS, GUIDANCE, HEIGHT, WIDTH = "num_inference_steps", "guidance_scale", "height", "width"
BATCHES = ("num_images_per_prompt", "num_videos_per_prompt")
SHAPING = ("size", "batch", HEIGHT, WIDTH, "num_frames", "max_sequence_length")
"""Of a request as it is kept: what decides the shapes of a call's tensors."""
Call = Mapping[str, Any] | Callable[..., Mapping[str, Any]]
Inputs = Mapping[str, Any] | tuple[Any, ...] | Callable[..., Mapping[str, Any] | tuple[Any, ...]]
OF_A_MODULE = ("fp32", "bf16", "compile", "int8")
"""Stages where none is named. Attention and its projections are diffusers' own matter; most modules have neither."""
OUTPUT_TYPE, LATENT = "output_type", "latent"
"""How pipelines of diffusers are asked for latents in the place of pictures."""


@dataclass(frozen=True)
class Factory:
    """What `@fastdiff.pipeline` or `@fastdiff.module` makes of a function; called, it is the function."""

    name: str
    make: Callable[..., Any]
    call: Call | Inputs
    """The arguments of a call, or the inputs of a module."""
    calls: Mapping[str, Call] = field(default_factory=dict)
    """Several by name, instead of one."""
    output: str | Callable[[Any], Any] | None = None
    compile: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    of: str = ""
    """The name without that of the call."""
    close: Close | None = None
    """Where it answers tensors."""
    is_module: bool = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.make(*arguments, **options)

    @property
    def each(self) -> list[Factory]:
        """One for each call, named by both."""
        apart = [replace(self, name=f"{self.name}-{one}", call=call, of=self.name) for one, call in self.calls.items()]
        return apart or [self]


def pipeline(
    name: str,
    *,
    call: Call | None = None,
    calls: Mapping[str, Call] | None = None,
    output: str | Callable[[Any], Any] | None = None,
    compile: Sequence[str] = (),
    parts: Mapping[str, str] | None = None,
    stages: Sequence[str] = (),
    close: Mapping[str, float] | None = None,
) -> Callable[[Callable[..., Any]], Factory]:
    """Decorates a function that makes a pipeline; it is given `device` and `dtype` where it takes them.

    `call`: the arguments of a call, or a function that makes them; `calls`: several of them by name, each measured as
    a pipeline of its own. `output`: where its answer holds the pictures, if they are not found. `compile` and `parts`
    say what is compiled and what the text encoder, a step and the decoder are, as `vae.decode`, where the pipeline is
    built in another way than those of diffusers. `stages`: what is measured where no stage is named. `close`: how far
    what it answers may be from the reference's, such as `dict(relative_l2=0.05)`, where that are no pictures.
    """
    wrong = _wrong(name, output, compile, parts or {}, stages, close) or _wrong_calls(name, call, calls)
    if wrong:
        raise UserError("recipe", f"@fastdiff.pipeline({name!r}): {wrong}")

    def decorate(make: Callable[..., Any]) -> Factory:
        _require_given("pipeline", name, make)
        found = Factory(name, make, call or {}, dict(calls or {}), output)
        limits = None if close is None else close_of(close, elements=False)
        return replace(found, compile=tuple(compile), parts=dict(parts or {}), stages=tuple(stages), close=limits)

    return decorate


def module(
    name: str,
    *,
    inputs: Inputs,
    close: Mapping[str, float] | None = None,
    output: str | Callable[[Any], Any] | None = None,
    stages: Sequence[str] = OF_A_MODULE,
) -> Callable[[Callable[..., Any]], Factory]:
    """Decorates a function that makes a module, or another callable; it is given `device` and `dtype` where it takes
    them.

    `inputs`: keyword arguments of a call as a dict, or positional ones as a tuple, or a function that makes them and
    takes `device` and `dtype` where it wants to. `close`: how far its tensors may be from the reference's, as
    `dict(rtol=..., atol=...)`, or as `dict(relative_l2=...)`; by default that depends on the dtype. `output`: where its
    answer holds the tensors that are compared, if these are not all. `stages`: what is measured where none is named.
    """
    wrong = _wrong(name, output, (), {}, stages, close)
    if not wrong and not callable(inputs):
        wrong = wrong_inputs(inputs)
    if wrong:
        raise UserError("recipe", f"@fastdiff.module({name!r}): {wrong}")

    def decorate(make: Callable[..., Any]) -> Factory:
        _require_given("module", name, make)
        limits = close_of(close or {}, elements=not close)
        return Factory(name, make, inputs, output=output, stages=tuple(stages), close=limits, is_module=True)

    return decorate


def close_of(given: Mapping[str, Any], *, elements: bool) -> Close:
    """`elements`: whether each number is judged where nothing was given for it."""
    names = ("rtol", "atol", "relative_l2")
    for name in given:
        if name not in names:
            raise UserError("recipe", f"close: {unknown('number', str(name), names)}")
    return Close(elements or "rtol" in given or "atol" in given, **given)


def _require_given(kind: str, name: str, make: Callable[..., Any]) -> None:
    takes = inspect.signature(make).parameters
    strange = [name for name, one in takes.items() if must_be_given(one) and name not in GIVEN]
    if strange:
        raise UserError(
            "recipe",
            f"@fastdiff.{kind}({name!r}): {make.__name__} takes {', '.join(strange)}; it is given "
            f"{' and '.join(GIVEN)} alone, so give what else it takes a default.",
        )


def must_be_given(parameter: inspect.Parameter) -> bool:
    """Whether a call fails without it."""
    varies = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not varies


def _wrong(name: Any, output: Any, compiled: Any, parts: Any, stages: Any, close: Any) -> str:
    """What is wrong with the decorator's arguments, in one sentence."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return "files are called by the name; use letters, digits and . _ + -"
    if output is not None and not isinstance(output, str) and not callable(output):
        return f"output is {output!r}; give the name of an attribute, or a function of what the pipeline returns."
    for kind, texts in (("compile", compiled), ("stages", stages)):
        if isinstance(texts, str) or not all(isinstance(one, str) for one in texts):
            return f"{kind} is {texts!r}; give a list of names."
    for part, place in parts.items():
        if part not in PARTS:
            return f"parts: {unknown('part', str(part), PARTS)}"
        if not isinstance(place, str):
            return f"parts: {part} is {place!r}; give its place in the pipeline, such as 'vae.decode'."
    if close is None:
        return ""
    if not isinstance(close, Mapping):
        return f"close is {close!r}; give a dict, such as dict(rtol=0.01)."
    try:
        close_of(close, elements=False)
    except UserError as error:
        return str(error)
    return ""


def _wrong_calls(name: str, call: Any, calls: Any) -> str:
    if call is not None and calls is not None:
        return "give call, or calls, and not both."
    if calls is not None and not (isinstance(calls, Mapping) and calls):
        return f"calls is {calls!r}; give a dict of calls by name."
    for one in calls or {}:
        if not isinstance(one, str) or not NAME.fullmatch(f"{name}-{one}"):
            return f"files are called by the name of a call, too; {one!r} is none: use letters, digits and . _ + -"
    given = calls.values() if calls else [call] if call is not None else []
    return next((wrong for one in given if not callable(one) and (wrong := wrong_call(one))), "")


def wrong_call(call: Any) -> str:
    """What is wrong with the arguments of a call; also of those that a function has made."""
    if not isinstance(call, Mapping):
        return f"call is {call!r}; give a dict, or a function that returns one."
    if any(type(value).__name__ == "Generator" for value in call.values()):
        return "a generator goes on from call to call; leave it out, and fastdiff passes a fresh one each time."
    return ""


def wrong_inputs(inputs: Any) -> str:
    """The same of a module's."""
    if not isinstance(inputs, Mapping | tuple):
        return f"inputs is {inputs!r}; give a dict, a tuple, or a function that returns one."
    if isinstance(inputs, Mapping) and not all(isinstance(one, str) and one.isidentifier() for one in inputs):
        return f"inputs has the names {', '.join(map(repr, inputs))}; give names of arguments, or a tuple."
    return ""


# -- a model ----------------------------------------------------------------------------------------------------------


def is_path(name: str) -> bool:
    """Whether this names a file rather than a model."""
    return IN_FILE in name or name.endswith(".py")


def models(name: str, *folders: Path) -> list[Model]:
    """The pipelines that `FILE.py::NAME` names (several, if it has several calls), or all of `FILE.py`; the file is
    looked for in the folders."""
    file, _, wanted = name.partition(IN_FILE)
    path = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if path is None:
        raise UserError("file", f"there is no file {file} in {' or '.join(dict.fromkeys(map(str, folders)))}.")
    known = _factories(path)
    if not known:
        raise UserError("file", f"{file} has no pipeline; decorate a function with @fastdiff.pipeline(NAME).")
    chosen = [one for name, one in known.items() if wanted in ("", name, one.of)]
    if not chosen:
        raise UserError("recipe", f"{file}: {unknown('pipeline', wanted, known)}")
    return [_model(one, path.resolve()) for one in chosen]


def factory(model: Model) -> Factory:
    """The function behind a model, in the process that is going to call it."""
    file, _, name = model.factory.partition(IN_FILE)
    known = _factories(Path(file))
    if name not in known:
        raise UserError("recipe", f"{file}: {unknown('pipeline', name, known)}")
    return known[name]


def moved(model: Model, project: Path, checkout: Path | None) -> Model:
    """The same model with the file of another checkout of the project."""
    file, _, name = model.factory.partition(IN_FILE)
    if not (file and checkout and Path(file).is_relative_to(project.resolve())):
        return model
    return replace(model, source=f"{checkout / Path(file).relative_to(project.resolve())}{IN_FILE}{name}")


def _model(factory: Factory, path: Path) -> Model:
    call = factory.call if isinstance(factory.call, Mapping) else {}
    request, close = request_of(call), factory.close
    if close is None and request.call.get(OUTPUT_TYPE) == LATENT:
        close = Close(elements=False)
    return Model(factory.name, "", f"{path}{IN_FILE}{factory.name}", request, stages=factory.stages, close=close)


def request_of(call: Mapping[str, Any]) -> Request:
    """What a call asks, as far as it is plain data; the rest, such as a picture to begin with, is known to the file."""
    rest = {name: value for name, value in call.items() if is_plain(value)}
    prompt = rest.pop("prompt") if isinstance(rest.get("prompt"), str) else None
    steps, guidance = rest.pop(STEPS, None), rest.pop(GUIDANCE, None)
    size = rest.pop(HEIGHT) if HEIGHT in rest and rest[HEIGHT] == rest.get(WIDTH) else None
    if size is not None:
        del rest[WIDTH]
    batch = next((rest.pop(name) for name in BATCHES if name in rest), 1)
    return Request(prompt, steps, size, guidance, batch, call=rest)


def is_plain(value: Any) -> bool:
    """Whether it can be sent to another process, and kept in a run file."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float)


# -- its file ---------------------------------------------------------------------------------------------------------


def _factories(path: Path) -> dict[str, Factory]:
    found: dict[str, Factory] = {}
    for one in vars(_imported(path)).values():
        if not isinstance(one, Factory):
            continue
        for each in one.each:
            if found.get(each.name, each).make is not each.make:
                raise UserError("recipe", f"{path}: two pipelines are called {each.name!r}; rename one of them.")
            found[each.name] = each
    return found


def _imported(path: Path) -> ModuleType:
    """Once for each process. The file sees its neighbours, and as a part of a package also what it imports by dots."""
    path = path.resolve()
    package = _packages(path.parent)
    top = package[-1].parent if package else path.parent
    if package:
        name = ".".join([*(folder.name for folder in reversed(package)), path.stem])
    else:
        name = f"_fastdiff_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if str(top) not in sys.path:
        sys.path.append(str(top))
    known = sys.modules.get(name)
    if known is None:
        hush()
        known = _executed(path, name)
    if Path(str(known.__file__)).resolve() != path:
        raise UserError(
            "file", f"{path} is {name}, and so is {known.__file__}, which was imported; rename one of them."
        )
    return known


def _packages(folder: Path) -> list[Path]:
    """The folders that make a file of this one a part of a package, the innermost first."""
    return [folder, *_packages(folder.parent)] if (folder / "__init__.py").is_file() else []


def _executed(path: Path, name: str) -> ModuleType:
    try:
        if "." in name:
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except FileNotFoundError:
        sys.modules.pop(name, None)
        raise UserError("file", f"there is no file {path}.") from None
    except UserError:
        sys.modules.pop(name, None)
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        raise UserError("file", f"{path} cannot be imported ({type(error).__name__}: {error}).") from error
    return module

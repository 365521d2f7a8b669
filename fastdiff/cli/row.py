"""What `fastdiff run` prints first, and a measured setting as a row of the published benchmark script's CSV."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING, Any

from fastdiff import __version__
from fastdiff.host.environment import device_name, versions
from fastdiff.host.processor import emulated
from fastdiff.report.published import HIGH, LIBRARIES, LOW, THEIRS, TIME, described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastdiff.experiments.published import Outcome, Setting
    from fastdiff.report.published import Row

GIGA = 1024**3
"""What the published script calls a GB."""


def row(outcome: Outcome) -> Row:
    """Numbers as they were measured: rounding is for readers, not for files."""
    record = outcome.trial
    samples = [sample.wall_s for sample in record.samples]
    low, middle, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else (None, *samples, None)
    memory = record.memory
    cells = asked(outcome.setting) | {
        TIME: middle,
        LOW: low,
        HIGH: high,
        "rounds": len(samples),
        "samples (secs)": " ".join(repr(sample) for sample in samples),
        "disturbed rounds": sum(bool(sample.void) for sample in record.samples),
        "stopped": outcome.stopped,
        "first call (secs)": record.first_call_s,
        "compile cache": record.cache,
        "load (secs)": record.load_s,
        "memory (gbs)": memory.peak_bytes / GIGA if memory else None,
        "where memory peaks": memory.where if memory else None,
        "memory measured as": memory.measure if memory else None,
        "weights (gbs)": memory.weights_bytes / GIGA if memory and memory.weights_bytes else None,
        "actual_gpu_memory (gbs)": outcome.gpu_bytes / GIGA if outcome.gpu_bytes else None,
        "weights": record.weights,
        "proof": _proof(record.fingerprint),
        "started": outcome.started,
    }
    order = [*THEIRS, *(name for name in cells if name not in THEIRS)]
    return {name: cell(cells[name]) for name in order}


def asked(setting: Setting) -> dict[str, Any]:
    recipe, request, how = setting.recipe, setting.request, setting.recipe.compile
    flags = how.flags if how else ()
    return {
        "pipeline_cls": setting.model.pipeline,
        "ckpt_id": setting.checkpoint,
        "bf16": recipe.dtype == "bfloat16",
        "sdpa": recipe.attention != "vanilla",
        "fused_qkv_projections": recipe.fuse_qkv,
        "upcast_vae": recipe.upcast_vae,
        "batch_size": request.batch,
        "num_inference_steps": request.steps,
        "compile_unet": how is not None and how.denoiser,
        "compile_vae": how is not None and how.decoder,
        "compile_mode": how.mode if how else None,
        "change_comp_config": any(name == "coordinate_descent_tuning" for name, _ in flags),
        "do_quant": recipe.quantize.replace("-", "") if recipe.quantize != "none" else None,
        "tag": setting.tag,
        "model": setting.model.name,
        "stage": setting.stage,
        "dtype": recipe.dtype,
        "size": request.size,
        "guidance": request.guidance,
        "seed": request.seed,
        "prompt": request.prompt,
        "inductor flags": " ".join(f"{name}={value}" for name, value in flags),
        "tf32": recipe.tf32 and setting.device.startswith("cuda"),
        "device": setting.device,
        "device name": device_name(setting.device),
        **{name: version for name, version in versions().items() if name in LIBRARIES},
        "fastdiff": __version__,
    }


def _proof(facts: Mapping[str, Any]) -> str:
    """The counts that prove that the setting was applied."""
    kinds = [f"{name.partition('.')[2]} x {count}" for name, count in facts.items() if name.startswith("processors.")]
    dtypes = {name.rpartition(".")[2] for name in facts if name.startswith("dtypes.")}
    counted = (
        f"{facts['graphs']} graphs",
        f"{facts['breaks']} breaks",
        f"{facts['recompiles']} recompiles",
        f"{facts['fused_modules']} of {facts['attention_modules']} attention modules fused",
        f"{facts['quantized_layers']} layers quantized",
    )
    return "; ".join([*counted, *kinds, f"parameters in {' and '.join(sorted(dtypes))}"])


def cell(value: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def headline(setting: Setting) -> list[str]:
    """What is going to be measured, and on which device."""
    random = f" ({setting.model.weights})" if setting.model.made_here else ""
    return [
        f"{setting.model.name}{random} on {device_name(setting.device)} ({setting.device}): {setting.request.shown}",
        described({name: cell(value) for name, value in asked(setting).items()}),
        *(
            f"this CPU has no instructions for {kind}: it is many times slower than float32 here"
            for kind in emulated(setting.device)
            if kind in setting.recipe.arithmetic
        ),
    ]

"""`python -m tools.gpu_check --part 1`: runs the steps of a part, each with a limit, and keeps every result at once."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.compare.facts import differences, listed
from fastdiff.host.environment import device_kind, device_name, versions
from fastdiff.record import files
from fastdiff.record.errors import UserError
from fastdiff.record.writing import write_text
from tools.gpu_check import report
from tools.gpu_check.reading import Found, Outcome
from tools.gpu_check.report import FAILED, MEASURED, NOT_MEASURED, STOPPED
from tools.gpu_check.steps import GPU, PART_S, REHEARSAL, STEPS, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tools.gpu_check.steps import Scale, Step

ROOT = Path(__file__).resolve().parents[2]
RESULTS, REPORT, LOG, TELEMETRY, RUNS = "results.json", "report.md", "log.txt", "telemetry.json", "runs.tar.gz"
TRAVELLING = (RESULTS, REPORT, TELEMETRY, RUNS, LOG)
"""What is copied for the way home, the important files first."""
GRACE_S = 8.0
"""Seconds between SIGINT and SIGKILL; pytest writes its run file in this time."""
TROUBLE, INTERRUPTED, TERMINATED = 2, 130, 143
"""Exit codes, beside 1 for a claim that did not hold."""
LEAST_S = 5.0
"""No step starts with less time left: importing torch takes as long."""


@dataclass
class Check:
    """The state of one check, in its folder: results that are there are not measured again."""

    folder: Path
    scale: Scale
    copy_to: Path | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh: dict[str, Any] = {
            "rehearsal": not self.scale.on_gpu,
            "environment": {"device": device_name(self.scale.device), "versions": versions()},
            "scale": asdict(self.scale),
            "steps": {},
        }
        self.results: dict[str, Any] = _read(self.folder / RESULTS) or fresh
        # The check must not mix two devices or two sizes in one report.
        for key in ("environment", "scale"):
            if changed := differences(self.results[key], fresh[key]):
                raise SystemExit(
                    f"{self.folder} holds the results of another {key} ({listed(changed)}); "
                    "name another folder: --results FOLDER."
                )

    def run(self, steps: Sequence[Step], seconds: float = PART_S) -> int:
        """0 where every claim held, 1 where one did not or a step failed."""
        until = time.monotonic() + seconds
        for place, step in enumerate(steps):
            if self._is_measured(step):
                self.say(f"{step.name}: already measured")
                continue
            # What earlier steps left of their limits belongs to this one, not what later ones need.
            later = sum(one.limit_s for one in steps[place + 1 :] if not self._is_measured(one))
            left = until - time.monotonic()
            result, run = self._measure(step, min(left, max(step.limit_s, left - later)))
            self.results["steps"][step.name] = result
            self._keep(run)
            self.say(f"{step.name}: {result['state']} in {result['seconds']:.0f} s {result['reason']}".rstrip())
        done = [self.results["steps"][step.name] for step in steps]
        wrong = [claim for one in done for claim in one["claims"] if not claim["held"]]
        for claim in wrong:
            self.say(f"did not hold: {claim['sentence']}: {claim['seen']}")
        self.say(f"report: {self.folder / REPORT}")
        return 1 if wrong or any(one["state"] in (FAILED, STOPPED) for one in done) else 0

    def _is_measured(self, step: Step) -> bool:
        """What failed, was stopped or was not reached is tried again."""
        known = self.results["steps"].get(step.name)
        return known is not None and known["state"] == MEASURED

    def _measure(self, step: Step, limit_s: float) -> tuple[dict[str, Any], Path | None]:
        """The result of a step, and the run file of its session."""
        blank = {"seconds": 0.0, "command": [], "numbers": {}, "claims": [], "unmeasured": [], "run": None}
        if why := missing(step, self.scale):
            return {**blank, "state": NOT_MEASURED, "reason": why}, None
        if limit_s < LEAST_S:
            return {**blank, "state": NOT_MEASURED, "reason": "no time left in this part"}, None
        probed = Path(os.path.relpath(self.folder / f"{step.name}.json", ROOT))
        (ROOT / probed).unlink(missing_ok=True)
        command = step.command(self.scale, probed)
        self.say(f"{step.name}: {step.title} (at most {limit_s:.0f} s)")
        before, began = _run_files(), time.monotonic()
        code = self._execute(step, command, limit_s)
        seconds = time.monotonic() - began
        run = next((path for path in _run_files() if path not in before), None)
        numbers = {name: one["numbers"] for name, one in self.results["steps"].items()}
        try:
            found = step.read(self.scale, Outcome(run, ROOT / probed, numbers))
            state, reason = MEASURED, ""
        except Exception as error:  # one step that cannot be read must not cost the others
            found, state = Found({}), FAILED
            reason = f"{str(error).strip() or type(error).__name__}; its output is in {LOG}."
            with (self.folder / LOG).open("a") as log:
                log.write(traceback.format_exc())
        if code is None:
            state, reason = STOPPED, f"it took longer than {limit_s:.0f} s; {reason or 'what was finished is kept.'}"
        elif code not in (0, 1):  # 1: a session with a failed test, or pairs with a finding
            state, reason = FAILED, reason or f"it ended with exit code {code}; its output is in {LOG}."
        result = {
            **blank,
            "state": state,
            "reason": reason,
            "seconds": seconds,
            "command": ["python", *command[1:]],
            "numbers": found.numbers,
            "claims": [asdict(claim) for claim in found.claims],
            "unmeasured": list(found.unmeasured),
            "run": run.name if run else None,
        }
        return result, run

    def _execute(self, step: Step, command: list[str], limit_s: float) -> int | None:
        """The exit code; None where the limit ended it. Nothing of a step is left running."""
        with (self.folder / LOG).open("ab") as log:
            log.write(f"\n== {step.name}: {shlex.join(command)}\n".encode())
            log.flush()
            variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_paths()]), "PYTHONUNBUFFERED": "1"}
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=variables,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
            try:
                return child.wait(max(1.0, limit_s - GRACE_S))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(GRACE_S)
                return None
            finally:
                _signal(child, signal.SIGKILL)
                child.wait()

    def _keep_run(self, run: Path) -> None:
        """The run and its reference's pictures, which are all that an acceptance takes, in the project's layout."""
        for path in (run, *reference_pictures(run)):
            kept = self.folder / path.relative_to(ROOT)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)

    def _keep(self, run: Path | None) -> None:
        """The numbers first: they are small, and the rest can be lost to a full disk."""
        write_text(self.folder / RESULTS, json.dumps(self.results, indent=1) + "\n")
        write_text(self.folder / REPORT, report.markdown(self.results))
        if run is not None:
            self._keep_run(run)
            packed = self.folder / f".{RUNS}"
            with tarfile.open(packed, "w:gz") as tar:
                tar.add(self.folder / "runs", "runs")
            packed.replace(self.folder / RUNS)
        if self.copy_to is not None:
            self.copy_to.mkdir(parents=True, exist_ok=True)
            for name in TRAVELLING:
                if (self.folder / name).exists():
                    shutil.copy2(self.folder / name, self.copy_to / name)


def reference_pictures(run: Path) -> list[Path]:
    """Full-size pictures of every stage would be too large to travel."""
    try:
        stages = files.read(run).stages
    except UserError:  # pairs are no run
        return []
    names = {f"{one.model}-{one.quality.reference}" for one in stages if one.quality}
    return [path for path in run.with_suffix("").glob("*.png") if path.stem in names]


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _paths() -> list[str]:
    return [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]


def _run_files() -> list[Path]:
    return [*(ROOT / "runs").glob("*.json"), *(ROOT / "runs" / "ab").glob("*.json")]


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        read: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise SystemExit(f"{path} is no JSON ({error}); remove it, and the steps are measured again.") from None
    return read


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check", description=__doc__)
    parser.add_argument("--part", choices=("1", "2", "all"), default="all", help="part to run, each at most 420 s")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "gpu-check", help="folder of the results")
    parser.add_argument("--copy-to", type=Path, help="folder that gets a copy of the result files after every step")
    parser.add_argument("--rehearse", action="store_true", help="small sizes on the CPU, although a GPU is there")
    options = parser.parse_args()
    # A harness may start this with signals ignored, and steps would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    if not options.rehearse and device_kind() != "cuda":
        raise SystemExit(
            "the driver shows no NVIDIA GPU, or torch is a CPU build; rehearse on this CPU instead: "
            "make gpu-check REHEARSE=1"
        )
    for name in ("diffusers", "pytest_benchmark"):
        if find_spec(name) is None:
            raise SystemExit(
                f"{name} is not installed; do: make install, or without a network as docs/guides/gpu-check.md says"
            )
    parts = (1, 2) if options.part == "all" else (int(options.part),)
    try:
        check = Check(options.results, REHEARSAL if options.rehearse else GPU, options.copy_to)
        sys.exit(max(check.run([step for step in STEPS if step.part == part]) for part in parts))
    except KeyboardInterrupt:
        print("interrupted; run the same command to continue (the interrupted step starts over).", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except OSError as error:
        place = error.filename2 or error.filename or options.results
        print(
            f"{place} cannot be written ({error.strerror}); make room there, or name another folder.", file=sys.stderr
        )
        sys.exit(TROUBLE)


if __name__ == "__main__":
    main()

"""`python -m tools.gpu_check.wheels`: gathers the wheels that the expected machine lacks, and checks them.

`machine.txt` lists what is there, `wheels.txt` what travels. `--environment FOLDER` makes an environment like that
machine's here, so that the check can be tried on its versions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from email import message_from_string
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = "3.12"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (39, 35, 34, 31, 28, 27, 24, 17)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux1_x86_64"]
MARKERS = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.3", "sys_platform": "linux", "extra": ""}
LARGEST_BYTES = 64 * 2**20
"""Of everything that travels: the checkout and the wheels."""
UNKNOWN = Version("0")
"""Of a package that is there in a version that is not known."""


def listed(path: Path) -> dict[str, Version]:
    """The packages of a list, by their canonical name."""
    found: dict[str, Version] = {}
    for line in path.read_text().splitlines():
        name, _, version = line.partition("#")[0].strip().partition("==")
        if name:
            found[canonicalize_name(name)] = Version(version) if version else UNKNOWN
    return found


def unmet(needs: Mapping[str, Iterable[str]], there: Mapping[str, Version]) -> Iterator[str]:
    """A sentence for each need that nothing meets; `needs` are requirements by who has them."""
    for owner, requirements in needs.items():
        for requirement in map(Requirement, requirements):
            if requirement.marker and not requirement.marker.evaluate(MARKERS):
                continue
            version = there.get(canonicalize_name(requirement.name))
            if version is None:
                yield f"{owner} needs {requirement}, which is neither there nor carried: add it to wheels.txt."
            elif version != UNKNOWN and not requirement.specifier.contains(version, prereleases=True):
                yield f"{owner} needs {requirement}, and the version would be {version}: carry another one."


def needs_of(wheel: Path) -> list[str]:
    with ZipFile(wheel) as opened:
        (metadata,) = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(opened.read(metadata).decode()).get_all("Requires-Dist") or []


def own_needs() -> list[str]:
    """But for what makes environments: on that machine nothing can be installed."""
    needs: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [need for need in needs if Requirement(need).name != "uv"]


def download(folder: Path) -> None:
    """One wheel for each line of wheels.txt; `--no-deps`, because what is there already must not travel."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    command += ["--python-version", PYTHON, "--implementation", "cp"]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run([*command, "-r", str(HERE / "wheels.txt")], check=True)


def checkout_bytes() -> int:
    """Of tracked files, and of untracked ones that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return sum(path.stat().st_size for path in paths if path.is_file())


def environment(folder: Path, python: str) -> None:
    """An environment with that machine's versions and the carried wheels, but without fastdiff."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "-q", "-r", str(HERE / "machine.txt"), "-r", str(HERE / "wheels.txt")], check=True)
    subprocess.run([*pip, "check"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check.wheels", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / ".wheels", help="where the wheels go")
    parser.add_argument("--environment", type=Path, help="make an environment like that machine's in this folder")
    parser.add_argument("--python", default=f"python{PYTHON}", help="interpreter of that environment")
    options = parser.parse_args()
    if options.environment:
        environment(options.environment, options.python)
        return
    download(options.folder)
    wheels = sorted(options.folder.glob("*.whl"))
    there = listed(HERE / "machine.txt") | listed(HERE / "wheels.txt")
    needs = {wheel.name.partition("-")[0]: needs_of(wheel) for wheel in wheels}
    needs["fastdiff"] = own_needs()
    troubles = list(unmet(needs, there))
    carried, checkout = sum(wheel.stat().st_size for wheel in wheels), checkout_bytes()
    print(f"{len(wheels)} wheels, {carried / 2**20:.1f} MiB; checkout {checkout / 2**20:.1f} MiB; both must fit in 64")
    if carried + checkout > LARGEST_BYTES:
        troubles.append("that is too much: drop a wheel whose version on the machine is known to suffice.")
    if troubles:
        sys.exit("\n".join(troubles))


if __name__ == "__main__":
    main()

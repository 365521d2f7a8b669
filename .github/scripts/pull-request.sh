#!/usr/bin/env bash
# Measures the pull request in head/ beside its base, in pairs of processes. The base is the first parent of the merge
# commit, so nothing but the pull request differs. Each of them is installed in an environment of its own, together with
# this fastdiff, and every process imports what its environment has.
# INSTALL: words for `uv pip install` in either folder. TESTS and OPTIONS: words for pytest.
set -euo pipefail
fastdiff=$(cd "$(dirname "$0")/../.." && pwd)
read -ra install <<< "$INSTALL"
read -ra tests <<< "$TESTS"
read -ra options <<< "$OPTIONS"

python -m pip install --quiet -c "$fastdiff/constraints.txt" uv
git -C head worktree add --quiet --detach "$PWD/base" HEAD^1
for side in base head; do
  uv venv --quiet --python "$(command -v python)" "$side/.venv"
  if ! (cd "$side" && uv pip install --quiet --python .venv "${install[@]}" "$fastdiff"); then
    echo "::error::The $side of this pull request does not install: uv pip install ${install[*]}"
    exit 2
  fi
done
base=$(printf '%q' "$PWD/base/.venv")
cd head
.venv/bin/pytest "${tests[@]}" --fastdiff-against "$base" --fastdiff-markdown runs/pull-request.md "${options[@]}"

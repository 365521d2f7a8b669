#!/usr/bin/env bash
# Finds and installs the newest stable torch, to be asked against the accepted side: `torch=VERSION` for the later steps,
# or `torch=none` and one sentence that says why. That there is nothing to ask is no failure.
set -euo pipefail

answer() {
  echo "torch=$1" >> "$GITHUB_OUTPUT"
  echo "$2" | tee -a "$GITHUB_STEP_SUMMARY"
  exit 0
}

bash .github/scripts/accepted.sh || answer none "No run of this GPU is accepted yet, so no torch is measured beside it."
pinned=$(sed -n 's/^torch==//p' constraints.txt)
# Debian's python3 may come without pip; make needs venv in any case.
python3 -m venv "$RUNNER_TEMP/pip"
found=$("$RUNNER_TEMP/pip/bin/pip" index versions torch) || found=
newest=$(sed -nE '1s/^torch \(([0-9][0-9A-Za-z.]*)(\+[^)]*)?\)$/\1/p' <<< "$found")
[[ -n "$newest" ]] || answer none "No stable release of torch was found; the log of this step says why."
if [[ $(printf '%s\n' "$pinned" "$newest" | sort -V | tail -n 1) == "$pinned" ]]; then
  answer none "The newest stable torch is $newest, and $pinned is pinned: there is no newer one to measure."
fi
make install "TORCH=$newest" || answer none "torch $newest does not install with the other pins; the log says why."
answer "$newest" "torch $newest, the newest stable one, measured in pairs with the accepted side:"

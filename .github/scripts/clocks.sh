#!/usr/bin/env bash
# Locks the clocks of every GPU for a measurement, and gives them back to the driver: clocks.sh lock, clocks.sh restore.
# Where this user may not, one line says so, and the job goes on. Without persistence mode the driver forgets a lock as
# soon as no program uses the GPU.
# GPU_CLOCK_MHZ: the clock to lock to; empty for the one that the driver calls the default for applications.
set -euo pipefail
mark="$RUNNER_TEMP/clocks-locked"

smi() {
  if [[ $(id -u) == 0 ]]; then nvidia-smi "$@"; else sudo -n nvidia-smi "$@"; fi 2>&1
}

lock() {
  default=$(nvidia-smi --query-gpu=clocks.default_applications.graphics --format=csv,noheader,nounits || true)
  mhz=${GPU_CLOCK_MHZ:-$(sort -n <<< "$default" | head -n 1)}
  if [[ ! "$mhz" =~ ^[0-9]+$ ]]; then
    echo "GPU clocks: not locked, because the driver names no default ($mhz); the variable GPU_CLOCK_MHZ can."
    return
  fi
  touch "$mark" # before, because a job can be cancelled in between
  if answer=$(smi "--lock-gpu-clocks=$mhz,$mhz"); then
    echo "GPU clocks: ${answer%%$'\n'*}"
  else
    rm "$mark"
    echo "GPU clocks: not locked: ${answer%%$'\n'*}"
  fi
}

restore() {
  if answer=$(smi --reset-gpu-clocks); then
    rm -f "$mark"
    echo "GPU clocks: ${answer%%$'\n'*}"
  elif [[ -e "$mark" ]]; then
    echo "::error::The GPU's clocks are still locked: ${answer%%$'\n'*}"
    exit 1
  else
    echo "GPU clocks: not reset, and not locked by this job: ${answer%%$'\n'*}"
  fi
}

"$1"

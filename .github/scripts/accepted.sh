#!/usr/bin/env bash
# Whether a run of this GPU is accepted: its folder in baselines/ bears the GPU's name, as fastdiff writes it.
set -euo pipefail

name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
folder=$(tr '[:upper:]' '[:lower:]' <<< "$name" | LC_ALL=C sed -E 's/[^a-z0-9]+/-/g; s/^-|-$//g')
compgen -G "baselines/$folder/*.json" > /dev/null

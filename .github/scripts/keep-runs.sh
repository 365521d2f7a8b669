#!/usr/bin/env bash
# Copies this job's runs and pairs, with their pictures, to ~/.cache/fastdiff/runs: the next checkout deletes runs/.
set -euo pipefail
shopt -s nullglob
kept=${KEPT:-200} # of each, the newest: a year of nights, and some GB of pictures at most

for folder in runs runs/ab; do
  there="$HOME/.cache/fastdiff/$folder"
  mkdir -p "$there"
  for file in "$folder"/*.json; do
    cp -a "$file" "$there"
    if [[ -d "${file%.json}" ]]; then cp -a "${file%.json}" "$there"; fi
  done
  all=("$there"/*.json)
  if ((${#all[@]} > kept)); then
    ls -t "${all[@]}" | tail -n "+$((kept + 1))" | while read -r old; do rm -rf -- "$old" "${old%.json}"; done
  fi
done

#!/usr/bin/env bash
# Measures a model on the GPU with `make bench`: measure.sh PAGE [OPTION...], where runs/PAGE.md holds what a summary shows.
# MODEL_NAME; TORCH_VERSION, empty for the pinned torch; ARTIFACT, the name under which this job's runs/ is uploaded.
set -euo pipefail
page=$1
shift

# make would expand a $(...) inside these two, so only the characters of a name and of a version pass.
for input in "$MODEL_NAME" "$TORCH_VERSION"; do
  if [[ ! "$input" =~ ^[A-Za-z0-9.+_-]*$ ]]; then
    printf '::error::%q is not the name of a model or a torch version: use letters, digits and . + _ - only.\n' "$input"
    exit 2
  fi
done

# Kept between nights: the checkout is not. The software of accepted runs lies in ~/.cache/fastdiff, too.
export TORCHINDUCTOR_CACHE_DIR="$HOME/.cache/fastdiff/compile"

options="--fastdiff-model $MODEL_NAME --fastdiff-device cuda --fastdiff-markdown runs/$page.md${*:+ $*}"
# Another torch, or another ladder, is a question and no gate: nothing of it was accepted.
if [[ -z "$TORCH_VERSION" && $# == 0 ]]; then gate=yes; else gate=; fi
if bash .github/scripts/accepted.sh; then
  accepted=yes
  # Minutes: where software differs a strict night needs an answer for every stage, and the job has three hours.
  if [[ $# == 0 ]]; then options+=" --fastdiff-max-time 100"; fi
  if [[ -n "$gate" ]]; then options+=" --fastdiff-strict"; fi
else
  accepted=
  # Every time is NEW, so nothing could be green; and what was accepted on another device has no CUDA.
  options+=" --fastdiff-confirm none"
fi

status=0
make bench ${TORCH_VERSION:+"TORCH=$TORCH_VERSION"} ARGS="$options" || status=$?

runs=(runs/*.json)
if [[ -n "$gate" && -z "$accepted" && -e "${runs[-1]}" ]]; then
  echo "No run of this GPU is accepted yet; accept this one in a clone with: \`gh run download $GITHUB_RUN_ID --name" \
    "$ARTIFACT --dir runs && fastdiff accept ${runs[-1]} --reason 'the first night'\`" >> "$GITHUB_STEP_SUMMARY"
fi
exit "$status"

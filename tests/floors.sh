#!/usr/bin/env bash
# Tests the wheels with the oldest versions that they say they work with, in a fresh environment.
set -euo pipefail
cd "$(dirname "$0")/.."
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

for source in . plugins/*/; do # from copies, in which no earlier build has left anything
    mkdir "$room/source"
    cp -r "$source"/{pyproject.toml,README.md,LICENSE,aigc_sdk*} "$room/source"
    cp -r "$source"/{setup.py,MANIFEST.in,src} "$room/source" 2> /dev/null || true # of the one that has a compiled half
    rm -rf "$room"/source/*.egg-info
    .venv/bin/python -m build --wheel --no-isolation --outdir "$room/wheels" "$room/source" > "$room/log" 2>&1 || { cat "$room/log"; exit 1; }
    rm -r "$room/source"
done
.venv/bin/python tests/floors.py | tee "$room/floors.txt"

"${PYTHON:-python3}" -m venv "$room/venv"
pip=("$room/venv/bin/pip" --disable-pip-version-check --quiet)
"${pip[@]}" install -r "$room/floors.txt" "$room"/wheels/*.whl hypothesis jiwer pytest pytest-timeout rouge-score
"$room/venv/bin/pip" check

repository=$PWD
tests=(
    tests/test_calls.py tests/test_checkpoint.py tests/test_folder.py tests/hub
    plugins/{echo,bert,gan,gpt2,metrics,tts,vae}/tests/test_contract.py plugins/video/tests/test_pipelines_folders.py
    tests/test_media.py plugins/kernels/tests/test_{library,network}.py
    plugins/process/tests/test_{compose_replay,finish_audio,finish_subtitles,finish_video}.py
    plugins/process/tests/test_prepare_{augment,reading,texts}.py
)
cd "$room" # away from the sources, so that only what was installed can be imported
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=""
venv/bin/aigc backends --check
venv/bin/aigc generate gpt2 "In the beginning" --seed 7 --max-new-tokens 20
venv/bin/pytest -c "$repository/pyproject.toml" --rootdir "$repository" -p no:cacheprovider "${tests[@]/#/$repository/}" "$@"

#!/usr/bin/env bash
# Builds the wheels of the core and of every plugin, installs them in a fresh environment, and uses them from there.
set -euo pipefail
cd "$(dirname "$0")/.."
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

for source in . plugins/*/; do
    .venv/bin/python -m build --wheel --outdir "$room/wheels" "$source" > "$room/log" 2>&1 || { cat "$room/log"; exit 1; }
done
ls -l "$room/wheels"

"${PYTHON:-python3}" -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet --disable-pip-version-check "$(grep '^torch==' requirements-dev.txt)" "$room"/wheels/*.whl

cd "$room" # away from the sources, so that only what was installed can be imported
venv/bin/aigc backends --check
venv/bin/aigc generate echo "one two three" --seed 1
venv/bin/aigc generate gpt2 "In the beginning" --seed 7 --max-new-tokens 20 -o story.txt
venv/bin/aigc replay story.txt

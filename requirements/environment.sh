#!/bin/sh
# Make .venv, or bring it up to date, with the locked packages of the files named as arguments.
# Any Python from 3.11 on will do; the work is done by environment.py, which old ones cannot read.
set -eu

fit() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

for python in python3.13 python3.12 python3.11 python3.14 python3; do
	if fit "$python"; then
		exec "$python" -I "$(dirname "$0")/environment.py" "$@"
	fi
done
echo "SIGMA needs Python 3.11 or newer on the PATH; found: $(python3 --version 2>&1 || true)" >&2
exit 1

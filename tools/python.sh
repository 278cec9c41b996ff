#!/bin/sh
# Run a script with a Python that is new enough for the course: $PYTHON if it is set, else the first on the path.
# The .venv's own Python comes last: it serves where the one that built it is no longer on the path.
found=""

consider() { # candidate script arguments...
    candidate=$1
    shift
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        exec "$candidate" "$@"
    fi
    # Only a plain "Python 3.8.18" counts: a name on the path may be a launcher that has nothing to launch.
    version=$("$candidate" --version 2>&1) || return 0
    case $version in Python\ [0-9]*) found="${found:+$found, }$candidate is $version" ;; esac
}

if [ -n "$PYTHON" ]; then
    consider "$PYTHON" "$@"
else
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 .venv/bin/python; do
        consider "$name" "$@"
    done
fi
echo "The course needs Python 3.10 or newer, and none was found${found:+ ($found)}." \
    "Install one, or name it: make lab PYTHON=/path/to/python3" >&2
exit 1

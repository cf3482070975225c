#!/bin/sh
# Stands in for Python in the tests of the task runner: notes each call, "makes" an environment by putting a link to
# itself there, and fails when the call begins with $FAKE_FAIL. No other program is on its PATH.
set -eu
printf '%s\n' "$*" >>"$FAKE_DIR/calls"
case "$*" in
"${FAKE_FAIL:-nothing}"*) exit 1 ;;
"-m venv --clear "*)
    /bin/mkdir -p "$4/bin"
    /bin/ln -sf "$FAKE_DIR/programs/python3" "$4/bin/python"
    ;;
esac

#!/bin/sh
# Stands in for node and npm in the tests of the task runner: notes each call, and fails when it begins with $FAKE_FAIL.
set -eu
call="${0##*/} $*"
printf '%s\n' "$call" >>"$FAKE_DIR/calls"
case "$call" in
"${FAKE_FAIL:-nothing}"*) exit 1 ;;
esac

#!/bin/sh
# Stands in for cargo in the tests of the task runner: notes each call and the variables that matter,
# makes the programs it is asked to build, and fails when the call begins with $FAKE_FAIL.
set -eu
printf '%s|%s\n' "${CARGO_MANIFEST_DIR-}${CARGO_PKG_NAME-}${RUSTDOCFLAGS-}" "$*" >>"$FAKE_DIR/calls"
case "$*" in
"${FAKE_FAIL:-nothing}"*) exit 101 ;;
build*) ;;
*) exit 0 ;;
esac
case "$*" in
*"--features faults"*) kind=faults ;;
*) kind=ordinary ;;
esac
mkdir -p "$FAKE_DIR/release"
printf '%s' "$kind" >"$FAKE_DIR/release/muster-agent"
cat >"$FAKE_DIR/release/muster" <<'DEMO'
#!/bin/sh
printf '%s\n' "$$" "$@"
exit 7
DEMO
chmod +x "$FAKE_DIR/release/muster"
echo "noise of a build"

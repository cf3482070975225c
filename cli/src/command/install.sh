#!/bin/sh
# Installs the Muster agent on this host and enrols the host as connector @NAME@.
#
# The token in this script works once, until @EXPIRES@, and for this name only.
# The private key of the connector is made on this host and never leaves it.
#
#   sh install.sh              install, enrol and start the agent
#   sh install.sh --no-start   install and enrol only
#   ssh HOST sh -s < install.sh
#
# Running it again is safe: what is done already is left alone. A script made with --renew gives a host that is
# enrolled already a new identity, once; its components run on.
#
# Exit codes
#   0  done
#   2  called with an argument that it does not know
#   3  this host lacks something (a program, a system, room or rights for the folder)
#   4  the agent could not be downloaded, or is not the one that the server announced
#   5  the server did not enrol the host; the lines above say why
#   6  the agent is enrolled but could not be started
set -eu
umask 077

NAME='@NAME@'
SERVER='@SERVER@'
AGENT_PATH='@AGENT_PATH@'
AGENT_SHA256='@AGENT_SHA256@'
PREFIX='@PREFIX@'
START='@START@'
RENEW='@RENEW@'

work=''
partial=''
new_version=''
old_link=''
made=''
enrolled='no'
replaced='no'

say() {
    printf '%s\n' "muster: $*"
}

fail() {
    code=$1
    shift
    printf '%s\n' "muster: $*" >&2
    exit "$code"
}

# Leaves nothing half done behind: the secrets always go; what this run brought goes too unless the host is enrolled.
clean_up() {
    code=$?
    trap - EXIT
    if [ -n "$partial" ]; then
        rm -f -- "$partial"
    fi
    if [ -n "$work" ]; then
        rm -rf -- "$work"
    fi
    if [ "$enrolled" = no ]; then
        undo
    fi
    exit "$code"
}

undo() {
    if [ -n "$new_version" ]; then
        if [ -n "$old_link" ]; then
            ln -sfn "$old_link" "$PREFIX/agent/current"
        elif [ -L "$PREFIX/agent/current" ]; then
            rm -f -- "$PREFIX/agent/current"
        fi
        rm -rf -- "$PREFIX/agent/versions/$new_version"
    fi
    # The innermost comes first; one that is not empty stays.
    printf '%s' "$made" | while IFS= read -r folder; do
        rmdir -- "$folder" 2>/dev/null || true
    done
}

# Makes a folder and those above it, and notes the new ones.
make_folder() {
    if [ -z "$1" ] || [ -d "$1" ]; then
        return 0
    fi
    case $1 in
        */*) make_folder "${1%/*}" || return 1 ;;
    esac
    mkdir -- "$1" || return 1
    made="$1
$made"
}

have() {
    command -v "$1" >/dev/null 2>&1
}

write_ca() {
    cat >"$work/ca.pem" <<'MUSTER_CA'
@CA_PEM@
MUSTER_CA
}

# The token goes from here into a private file, never into the arguments of a program, where others could read it.
write_token() {
    cat >"$work/token" <<'MUSTER_TOKEN'
@TOKEN@
MUSTER_TOKEN
}

choose_prefix() {
    if [ -z "$PREFIX" ]; then
        if [ "$(id -u)" = 0 ]; then
            PREFIX=/opt/muster
        elif [ -n "${HOME:-}" ]; then
            PREFIX=$HOME/.muster
        else
            fail 3 "HOME is not set; set it, or add the connector again with --prefix DIR"
        fi
    fi
    if ! make_folder "$PREFIX/agent/versions" || ! make_folder "$PREFIX/state"; then
        fail 3 "cannot write to $PREFIX; run this as root, or add the connector again with --prefix DIR"
    fi
}

sha256_of() {
    if have sha256sum; then
        sha256sum <"$1" | cut -d ' ' -f 1
    elif have shasum; then
        shasum -a 256 <"$1" | cut -d ' ' -f 1
    elif have openssl; then
        openssl dgst -sha256 <"$1" | sed 's/^.* //'
    else
        fail 3 "sha256sum, shasum or openssl is needed to check the download; install one of them"
    fi
}

download() {
    if have curl; then
        curl --fail --silent --show-error --proto '=https' --cacert "$work/ca.pem" \
            --connect-timeout 15 --max-time 600 --output "$2" "$1" </dev/null
    elif have wget; then
        wget -q --ca-certificate="$work/ca.pem" --timeout=30 --tries=2 -O "$2" "$1" </dev/null
    else
        fail 3 "curl or wget is needed to download the agent; install one of them"
    fi
}

# Sets agent to the program to use.
install_agent() {
    if [ -z "$AGENT_PATH" ]; then
        agent=$(command -v muster-agent) ||
            fail 4 "the server offers no agent for download, and muster-agent is not on the PATH; install it first"
        return
    fi
    offered=${AGENT_PATH#/agent/}
    offered=${offered%%/*}
    system=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
    [ "$system" = "$offered" ] || fail 3 "the server offers an agent for $offered, but this is $system"
    version=$(printf '%.12s' "$AGENT_SHA256")
    agent=$PREFIX/agent/versions/$version/muster-agent
    if [ -x "$agent" ] && [ "$(sha256_of "$agent")" = "$AGENT_SHA256" ]; then
        say "the agent is here already"
    else
        say "downloading the agent from $SERVER"
        partial=$PREFIX/agent/versions/.download.$$
        download "https://$SERVER$AGENT_PATH" "$partial" ||
            fail 4 "cannot download the agent from https://$SERVER$AGENT_PATH; check that this host reaches $SERVER"
        found=$(sha256_of "$partial")
        [ "$found" = "$AGENT_SHA256" ] ||
            fail 4 "the agent is not the announced one (sha256 $found, announced $AGENT_SHA256); add the connector again"
        chmod 755 "$partial"
        if [ -L "$PREFIX/agent/current" ]; then
            old_link=$(readlink "$PREFIX/agent/current")
        fi
        [ -d "$PREFIX/agent/versions/$version" ] || new_version=$version
        mkdir -p -- "$PREFIX/agent/versions/$version"
        mv -f -- "$partial" "$agent"
        partial=''
    fi
    ln -sfn "versions/$version" "$PREFIX/agent/current"
    agent=$PREFIX/agent/current/muster-agent
}

enrol() {
    stamp=$PREFIX/state/enrolled-with
    write_token
    # The token works once, so its digest says whether this very script enrolled the host before.
    digest=$(sha256_of "$work/token")
    force=''
    if [ -s "$PREFIX/state/identity/cert.pem" ]; then
        if [ "$RENEW" = no ]; then
            say "this host is enrolled already; its identity is kept"
            say "to give it a new one, run on the server: muster connector add $NAME --renew"
            enrolled=yes
            return
        elif [ -s "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ]; then
            say "this script has enrolled this host already; its identity is kept"
            enrolled=yes
            return
        fi
        say "replacing the identity of this host"
        force=yes
    fi
    say "enrolling $NAME at $SERVER"
    "$agent" enrol --prefix "$PREFIX" --server "$SERVER" --name "$NAME" \
        --ca "$work/ca.pem" --token-file "$work/token" ${force:+--force} </dev/null ||
        fail 5 "not enrolled; for a new token run on the server: muster connector add $NAME --renew"
    enrolled=yes
    replaced=${force:-no}
    printf '%s\n' "$digest" >"$stamp"
}

start_systemd() {
    cat >/etc/systemd/system/muster-agent.service <<MUSTER_UNIT
[Unit]
Description=Muster agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=$agent run --prefix $PREFIX
Restart=always
RestartSec=5
# The agent alone is stopped: components go on while it is replaced.
KillMode=process

[Install]
WantedBy=multi-user.target
MUSTER_UNIT
    chmod 644 /etc/systemd/system/muster-agent.service
    systemctl daemon-reload </dev/null
    systemctl enable muster-agent.service </dev/null
    systemctl restart muster-agent.service </dev/null
    systemctl is-active --quiet muster-agent.service </dev/null
}

# Whether an agent holds the lock of the prefix. A process number would prove nothing: numbers are used again.
agent_runs() {
    case $("$agent" status --prefix "$PREFIX" --json 2>/dev/null </dev/null) in
    *'"agent_runs":true'* | *'"agent_runs": true'*) return 0 ;;
    *) return 1 ;;
    esac
}

# Stops the agent that an earlier run started, if its process is still that agent; the components run on.
stop_alone() {
    pid=''
    if [ -s "$PREFIX/state/agent.pid" ]; then
        pid=$(cat "$PREFIX/state/agent.pid")
    fi
    case $pid in
    '' | *[!0-9]*) return 1 ;;
    esac
    [ -r "/proc/$pid/cmdline" ] || return 1
    case $(tr '\000' ' ' <"/proc/$pid/cmdline") in
    *"muster-agent run --prefix $PREFIX "*) kill "$pid" || return 1 ;;
    *) return 1 ;;
    esac
    tries=0
    while agent_runs; do
        tries=$((tries + 1))
        [ "$tries" -le 20 ] || return 1
        sleep 1
    done
}

start_alone() {
    if agent_runs; then
        if [ "$replaced" = no ]; then
            say "the agent runs already"
            return 0
        fi
        stop_alone || fail 6 "the agent still runs with the old identity; stop it, then run: $agent run --prefix $PREFIX"
    fi
    nohup "$agent" run --prefix "$PREFIX" >>"$PREFIX/state/agent.log" 2>&1 </dev/null &
    pid=$!
    printf '%s\n' "$pid" >"$PREFIX/state/agent.pid"
    # A second is enough to see a bad start; the server sees the rest.
    sleep 1
    if ! kill -0 "$pid" 2>/dev/null; then
        rm -f -- "$PREFIX/state/agent.pid"
        return 1
    fi
    say "started as process $pid; its log is $PREFIX/state/agent.log"
    say "to start it at boot, add to the crontab: @reboot $agent run --prefix $PREFIX"
}

main() {
    for argument in "$@"; do
        case $argument in
        --no-start) START=no ;;
        *) fail 2 "unknown argument $argument; only --no-start is known" ;;
        esac
    done
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    choose_prefix
    work=$(mktemp -d) || fail 3 "cannot make a temporary folder; check TMPDIR"
    write_ca
    install_agent
    enrol
    if [ "$START" = no ]; then
        if [ "$replaced" = yes ]; then
            say "an agent that runs keeps its old identity until it is stopped and started again"
        fi
        say "done; start the agent with: $agent run --prefix $PREFIX"
        return 0
    fi
    if [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] && have systemctl; then
        start_systemd || fail 6 "the agent did not start; see: journalctl -u muster-agent"
    else
        start_alone || fail 6 "the agent did not start; see $PREFIX/state/agent.log"
    fi
    say "done; on the server: muster connector show $NAME"
}

# Everything is a function, so a script that was cut off on the way does nothing.
main "$@"

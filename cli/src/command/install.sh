#!/bin/sh
# Installs the Muster agent on this host and enrols the host as connector @NAME@.
#
# @TOKEN_LINE@
# The private key of the connector is made on this host and never leaves it.
# Nothing is trusted but the authority below, whose SHA-256 fingerprint is
#   @CA_SHA256@
#
#   sh install.sh              check the host, install, enrol, start the agent, wait for the server's word
#   sh install.sh --dry-run    check the host and say what would be done; nothing is changed, the token stays good
#   sh install.sh --no-start   install and enrol only
#   sh install.sh --help       this text
#   ssh HOST sh -s < install.sh
#
# Running it again is safe: what is done already is left alone, what is half done is finished. A run that fails before
# the host is enrolled removes what it made, also when it is interrupted. A script made with --renew gives a host that is
# enrolled already a new identity, once; its components run on.
#
# Exit codes
#   0  done; the server has confirmed the first check-in
#   2  called with an argument that it does not know, or the script is a preview or damaged
#   3  this host lacks something: a FAIL line above says what, and how to get it
#   4  the server cannot be reached, or the agent is not the one that the server announced
#   5  the server did not enrol the host; the lines above say why
#   6  the agent is enrolled but could not be started
#   7  the agent runs, but the server has not confirmed its first check-in in time
set -eu
umask 077

NAME='@NAME@'
SERVER='@SERVER@'
# What a firewall must let out, as `muster allowlist` prints it.
ALLOWED='@ALLOWED@'
POOL='@POOL@'
AGENT_PATH='@AGENT_PATH@'
AGENT_SHA256='@AGENT_SHA256@'
AGENT_KB='@AGENT_KB@'
CA_SHA256='@CA_SHA256@'
PREFIX='@PREFIX@'
# @PROXY_LINE@
PROXY_MODE='@PROXY_MODE@'
PROXY='@PROXY@'
PROXY_URL='@PROXY_URL@'
NO_PROXY_GIVEN='@NO_PROXY_GIVEN@'
NO_PROXY_LIST='@NO_PROXY_LIST@'
# Whether the list above, or without one the default, exempts the server from the proxy.
EXEMPT='@EXEMPT@'
# The server as NO_PROXY is compared with it; the numbers are those of an address.
BARE_HOST='@BARE_HOST@'
BARE_PORT='@BARE_PORT@'
NUMBERS='@NUMBERS@'
START='@START@'
RENEW='@RENEW@'
PREVIEW='@PREVIEW@'

# What the agent needs: its own memory with room for a download, and its file three times beside packages.
MEMORY_KB=65536
MEMORY_GOOD_KB=131072
DISK_KB=$((3 * AGENT_KB + 65536))
DISK_GOOD_KB=$((3 * AGENT_KB + 524288))
# Certificates are judged by this host's clock.
SKEW_MAX=300
SKEW_GOOD=30
CONFIRM_SECONDS=60

work=''
child=''
partial=''
new_version=''
old_link=''
made=''
enrolled='no'
replaced='no'
dry='no'
host_failures=0
net_failures=0
known='no'
root=''
through=''
exempt_by=''
system=''
here=''

say() {
    printf '%s\n' "muster: $*"
}

fail() {
    code=$1
    shift
    printf '%s\n' "muster: $*" >&2
    exit "$code"
}

usage() {
    cat <<'MUSTER_USAGE'
usage: sh install.sh [--dry-run] [--no-start]

  --dry-run   check the host and say what would be done; nothing is changed, the token stays good
  --no-start  install and enrol only

Exit codes
  0  done; the server has confirmed the first check-in
  2  called with an argument that it does not know, or the script is a preview or damaged
  3  this host lacks something: a FAIL line says what, and how to get it
  4  the server cannot be reached, or the agent is not the one that the server announced
  5  the server did not enrol the host
  6  the agent is enrolled but could not be started
  7  the agent runs, but the server has not confirmed its first check-in in time
MUSTER_USAGE
}

# Leaves nothing half done behind: the secrets always go; what this run brought goes too unless the host is enrolled.
clean_up() {
    code=$?
    trap - EXIT
    # Cleaning is short; a second signal must not break it off.
    trap '' HUP INT QUIT PIPE TERM
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
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

# Runs what may take long. A shell obeys a signal only when the program that it waits for has ended, so this one runs
# beside it: whoever ends the script does not wait for a server that is silent.
beside() {
    # The middle one: what runs beside a shell hears nothing on its standard input unless it is told to.
    {
        "$@" <&3 3<&- &
    } 3<&0
    child=$!
    result=0
    wait "$child" || result=$?
    child=''
    return "$result"
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

# Whether the authority in this script is still the one that it was made with.
check_ca() {
    have base64 || return 0
    while IFS= read -r line; do
        case $line in
        *BEGIN*) ;;
        *END*) break ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <"$work/ca.pem" | base64 -d >"$work/ca.der" 2>/dev/null || true
    [ "$(sha256_of "$work/ca.der")" = "$CA_SHA256" ] ||
        fail 2 "this script is damaged: its authority is not $CA_SHA256; copy the whole script again"
}

# The token goes from here through a pipe: never into a file, nor into the arguments of a program, where others could
# read it.
token() {
    cat <<'MUSTER_TOKEN'
@TOKEN@
MUSTER_TOKEN
}

# Sets proxy and password to what the agent is told; the password itself goes into a private file.
write_proxy_settings() {
    cat >"$work/proxy-password" <<'MUSTER_PROXY'
@PROXY_PASSWORD@
MUSTER_PROXY
    proxy=$PROXY
    [ "$PROXY_MODE" != never ] || proxy=none
    password=''
    [ -z "$(cat "$work/proxy-password")" ] || password=$work/proxy-password
}

choose_prefix() {
    if [ "$(id -u)" = 0 ]; then
        root=yes
    fi
    if [ -n "$PREFIX" ]; then
        return 0
    elif [ -n "$root" ]; then
        PREFIX=/opt/muster
    elif [ -n "${HOME:-}" ]; then
        PREFIX=$HOME/.muster
    else
        fail 3 "HOME is not set; set it, or add the connector again with --prefix DIR"
    fi
}

sha256_of() {
    sha256 <"$1"
}

sha256() {
    if have sha256sum; then
        sha256sum | cut -d ' ' -f 1
    elif have shasum; then
        shasum -a 256 | cut -d ' ' -f 1
    elif have openssl; then
        openssl dgst -sha256 | sed 's/^.* //'
    else
        fail 3 "sha256sum, shasum or openssl is needed to check the download; install one of them"
    fi
}

# --- prechecks: one line each, with what was measured, what is needed, and what to do

# verdict STATUS CHECK MEASURED NEEDED [FIX]
verdict() {
    line=$(printf '%-4s  %-6s  %s; needed: %s' "$1" "$2" "$3" "$4")
    if [ "$1" != PASS ] && [ -n "${5:-}" ]; then
        line="$line; fix: $5"
    fi
    printf '%s\n' "$line"
}

# PASS, WARN or FAIL for a number of which more is better.
enough() {
    if [ "$1" -ge "$3" ]; then
        echo PASS
    elif [ "$1" -ge "$2" ]; then
        echo WARN
    else
        echo FAIL
    fi
}

host_verdict() {
    verdict "$@"
    [ "$1" != FAIL ] || host_failures=$((host_failures + 1))
}

# A host that is enrolled and has its agent can do without the server for now.
net_verdict() {
    state=$1
    shift
    if [ "$state" = FAIL ] && [ "$known" = yes ]; then
        state=WARN
    fi
    verdict "$state" "$@"
    [ "$state" != FAIL ] || net_failures=$((net_failures + 1))
}

check_system() {
    system=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
    offered=${AGENT_PATH#/agent/}
    offered=${offered%%/*}
    if [ -z "$AGENT_PATH" ] && have muster-agent; then
        host_verdict PASS system "$system, muster-agent is on the PATH" "an agent for it"
    elif [ -z "$AGENT_PATH" ]; then
        host_verdict FAIL system "$system, and the server offers no agent for download" "muster-agent on the PATH" \
            "set agent.binary in muster.toml on the server, or install muster-agent here"
    elif [ "$system" = "$offered" ]; then
        host_verdict PASS system "$system" "$offered"
    else
        host_verdict FAIL system "$system" "$offered" "use a host of that kind"
    fi
}

check_memory() {
    free=''
    if [ -r /proc/meminfo ]; then
        while read -r key value _; do
            [ "$key" != MemAvailable: ] || free=$value
        done </proc/meminfo
    fi
    if [ -z "$free" ]; then
        host_verdict WARN memory "not known" "$((MEMORY_KB / 1024)) MB available" "look by hand"
        return
    fi
    host_verdict "$(enough "$free" "$MEMORY_KB" "$MEMORY_GOOD_KB")" memory "$((free / 1024)) MB available" \
        "$((MEMORY_KB / 1024)) MB, better $((MEMORY_GOOD_KB / 1024)) MB" "stop something, or add memory"
}

# Sets here to the folder above the prefix, or itself, that is there.
find_here() {
    here=$PREFIX
    while [ -n "$here" ] && [ ! -d "$here" ]; do
        here=${here%/*}
    done
    here=${here:-/}
}

check_disk() {
    free=$(df -Pk "$here" 2>/dev/null | {
        read -r _
        read -r _ _ _ free _
        printf '%s' "$free"
    }) || free=''
    case $free in
    '' | *[!0-9]*)
        host_verdict WARN disk "not known for $here" "$((DISK_KB / 1024)) MB free" "look by hand"
        return
        ;;
    esac
    host_verdict "$(enough "$free" "$DISK_KB" "$DISK_GOOD_KB")" disk "$((free / 1024)) MB free on the volume of $here" \
        "$((DISK_KB / 1024)) MB, better $((DISK_GOOD_KB / 1024)) MB" \
        "free some, or add the connector again with --prefix on another volume"
}

check_rights() {
    if [ -e "$PREFIX" ] && [ ! -d "$PREFIX" ]; then
        host_verdict FAIL rights "$PREFIX is not a folder" "a folder to write to" "remove it, or choose another --prefix"
    elif [ ! -w "$here" ] || [ ! -x "$here" ]; then
        host_verdict FAIL rights "user $(id -u) may not write to $here" "to write to $PREFIX" \
            "run this as root, or add the connector again with --prefix DIR"
    elif [ -n "$root" ]; then
        host_verdict PASS rights "root" "to write to $PREFIX"
    else
        host_verdict PASS rights "user $(id -u) may write to $here" "to write to $PREFIX"
    fi
}

check_path() {
    case $PREFIX in
    *[!A-Za-z0-9/._+-]*)
        host_verdict FAIL path "$PREFIX" "only a-z A-Z 0-9 / . _ - +" "add the connector again with --prefix DIR"
        ;;
    /*) host_verdict PASS path "$PREFIX" "plain ASCII" ;;
    *) host_verdict FAIL path "$PREFIX" "an absolute path" "add the connector again with --prefix DIR" ;;
    esac
}

check_tools() {
    if ! have curl && ! have wget; then
        host_verdict FAIL tools "neither curl nor wget" "curl or wget is needed to download the agent" "install one of them"
    elif ! have sha256sum && ! have shasum && ! have openssl; then
        host_verdict FAIL tools "no sha256sum, shasum or openssl" "one of them to check the download" "install one of them"
    else
        host_verdict PASS tools "downloader and digest" "curl or wget, and sha256sum, shasum or openssl"
    fi
}

# Runs a downloader on the way that the agent will take. The URL may hold a password, so it is no argument.
on_the_way() {
    beside become_downloader "$@" </dev/null
}

# Only ever beside the script: it changes the environment and does not come back.
become_downloader() {
    unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
    if [ -n "$through" ]; then
        https_proxy=$through
        export https_proxy
    fi
    exec "$@"
}

# Sets through to the proxy that is asked for the server, as the agent chooses it: downloaders have rules of their own.
choose_way() {
    case $PROXY_MODE in
    url) through=$PROXY_URL ;;
    inherited)
        through=${HTTPS_PROXY:-${https_proxy:-}}
        [ "$through" != none ] || through=''
        ;;
    esac
    [ -n "$through" ] || return 0
    exempt=$EXEMPT
    exempt_by="what is exempt by default"
    if [ -n "$NO_PROXY_GIVEN" ]; then
        exempt_by="--no-proxy"
    elif [ -n "${NO_PROXY:-${no_proxy:-}}" ]; then
        exempt_by="NO_PROXY of the environment"
        exempt=no
        # Words, and none of them the name of a file.
        set -f
        for entry in $(printf '%s' "${NO_PROXY:-$no_proxy}" | tr ',A-Z' ' a-z'); do
            if is_exempt "$entry"; then
                exempt=yes
            fi
        done
        set +f
    fi
    if [ "$exempt" = yes ]; then
        through=''
        return 0
    fi
    exempt_by=''
    # A port that is not named is 80 to the agent, and another one to some downloaders.
    case $through in
    [Hh][Tt][Tt][Pp]://*) rest=${through#*://} ;;
    *://*) return 0 ;;
    *) rest=$through ;;
    esac
    rest=${rest%/}
    case ${rest##*@} in
    *]) rest=$rest:80 ;;
    *:*) ;;
    *) rest=$rest:80 ;;
    esac
    through=http://$rest
}

# Whether an entry of NO_PROXY is the server: a name and all below it, .domain, an address, a network, or *; but for
# networks perhaps with a port.
is_exempt() {
    bits=128
    only=''
    place=$1
    case $1 in
    '*') return 0 ;;
    */*)
        place=${1%%/*}
        bits=${1#*/}
        case $bits in '' | *[!0-9]* | ????*) return 1 ;; esac
        case $place in *:*) ;; *) bits=$((bits + 96)) ;; esac
        ;;
    \[*\]:*)
        place=${1%%]*}
        place=${place#?}
        only=${1##*:}
        ;;
    \[*\])
        place=${1%]}
        place=${place#?}
        ;;
    *:*:*) ;;
    *:*)
        place=${1%%:*}
        only=${1#*:}
        ;;
    esac
    [ -z "$only" ] || [ "$only" = "$BARE_PORT" ] || return 1
    while [ "$place" != "${place%.}" ]; do
        place=${place%.}
    done
    [ -n "$place" ] || return 1
    if found=$(numbers_of "$place"); then
        [ -n "$NUMBERS" ] && [ "$bits" -le 128 ] && same_network "$found"
        return
    fi
    case $1 in */*) return 1 ;; esac
    # An address is no name, whatever its last digits are.
    [ -z "$NUMBERS" ] || return 1
    case $place in '*.'*) place=${place#?} ;; esac
    case $place in
    .*) case $BARE_HOST in *?"$place") return 0 ;; esac ;;
    *) case $BARE_HOST in "$place" | *?".$place") return 0 ;; esac ;;
    esac
    return 1
}

# Whether the first bits of these numbers are those of the server.
same_network() {
    # IPv4 addresses are in no network of IPv6, though they can be written as such.
    case $NUMBERS in '0 0 0 0 0 65535 '*) [ "$bits" -ge 96 ] || return 1 ;; esac
    # shellcheck disable=SC2086
    set -- $1
    for number in $NUMBERS; do
        [ "$bits" -gt 0 ] || return 0
        cut=0
        [ "$bits" -ge 16 ] || cut=$((16 - bits))
        [ $(($1 >> cut)) = $((number >> cut)) ] || return 1
        bits=$((bits - 16))
        shift
    done
}

# The eight numbers of an address, those of an IPv4 one as of ::ffff:a.b.c.d.
numbers_of() {
    case $1 in
    *[!0-9a-f:.]* | *:::* | *::*::*) return 1 ;;
    *:*.*)
        last=$(numbers_of "${1##*:}") || return 1
        # shellcheck disable=SC2086
        set -- "$1" $last
        numbers_of "${1%:*}:$(printf '%x:%x' "$8" "$9")"
        ;;
    *::*)
        before=$(numbers_between "${1%%::*}") && after=$(numbers_between "${1#*::}") || return 1
        # shellcheck disable=SC2086
        set -- $before $after
        zeros=''
        while [ $# -lt 8 ]; do
            zeros="$zeros 0"
            set -- "$@" 0
        done
        [ $# = 8 ] && [ -n "$zeros" ] || return 1
        # shellcheck disable=SC2086
        echo $before $zeros $after
        ;;
    *:*)
        before=$(numbers_between "$1") || return 1
        # shellcheck disable=SC2086
        set -- $before
        [ $# = 8 ] && echo "$*"
        ;;
    *.*.*.*.* | *[!0-9.]* | .* | *. | *..*) return 1 ;;
    *.*.*.*)
        before=$(printf '%s' "$1" | tr . ' ')
        for part in $before; do
            case $part in 0?* | ????*) return 1 ;; esac
            [ "$part" -le 255 ] || return 1
        done
        # shellcheck disable=SC2086
        set -- $before
        echo 0 0 0 0 0 65535 $(($1 * 256 + $2)) $(($3 * 256 + $4))
        ;;
    *) return 1 ;;
    esac
}

numbers_between() {
    case $1 in
    '') return 0 ;;
    :* | *: | *.*) return 1 ;;
    esac
    for part in $(printf '%s' "$1" | tr : ' '); do
        case $part in ?????*) return 1 ;; esac
        printf '%d ' "0x$part"
    done
}

# Asks for the head of the health page of $target. $1: more arguments for the downloader, as one word.
ask_health() {
    rm -f -- "$work/head" "$work/said"
    if have curl; then
        on_the_way curl --silent --show-error --proto '=https' --cacert "$work/ca.pem" ${1:+"$1"} --connect-timeout 15 \
            --max-time 30 --dump-header "$work/head" --output /dev/null "https://$target/healthz" \
            2>"$work/said"
    else
        on_the_way wget --no-verbose --server-response --ca-certificate="$work/ca.pem" ${1:+"$2"} --timeout=15 --tries=1 \
            --output-document=/dev/null "https://$target/healthz" 2>"$work/said"
    fi
}

# Says where it ended: dns, proxy, tcp, tls or http.
stage_of() {
    said=''
    [ ! -s "$work/said" ] || said=$(cat "$work/said")
    if have curl; then
        case $1 in
        5 | 97) echo proxy ;;
        6) echo dns ;;
        7) if [ -n "$through" ]; then echo proxy; else echo tcp; fi ;;
        28) echo tcp ;;
        56) case $said in *CONNECT*) echo proxy ;; *) echo http ;; esac ;;
        35 | 51 | 53 | 54 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91) echo tls ;;
        *) echo http ;;
        esac
        return
    fi
    case $said in
    *"unable to resolve"*) echo dns ;;
    *"roxy tunneling failed"*) echo proxy ;;
    *"ertificate"* | *"SSL"* | *"TLS"*) echo tls ;;
    *) if [ "$1" = 8 ]; then echo http; else echo tcp; fi ;;
    esac
}

# Tests what must be let out, and nothing else.
check_reach() {
    for allowed in $ALLOWED; do
        check_server "$allowed"
    done
}

check_server() {
    target=$1
    target_host=${1%:*}
    code=0
    ask_health || code=$?
    stage=ok
    # A proxy that refuses, and a server that is busy, answer with a status; only the way is asked for here.
    [ "$code" = 0 ] || stage=$(stage_of "$code")
    why=''
    [ ! -s "$work/said" ] || why=$(tr '\n' ' ' <"$work/said" | cut -c 1-200)
    check_clock "$stage"
    by=''
    if [ -n "$through" ]; then
        by=" through the proxy"
        if [ "$stage" = proxy ]; then
            net_verdict FAIL proxy "the proxy ${PROXY:-of the environment} does not connect: $why" \
                "a way to $target" "allow $target in the proxy, or add the connector again with --proxy or --no-proxy"
            return
        fi
        net_verdict PASS proxy "${PROXY:-as the environment says}" "a way to $target"
    elif [ -n "$exempt_by" ]; then
        net_verdict PASS proxy "not used for $target: $exempt_by covers it" "a way to $target"
    fi
    if [ -n "$through" ]; then
        :
    elif [ "$stage" = dns ]; then
        net_verdict FAIL dns "$target_host is not known here: $why" "an address" \
            "correct /etc/resolv.conf, or add $target_host to /etc/hosts"
        return
    else
        net_verdict PASS dns "$target_host" "an address"
    fi
    if [ "$stage" = tcp ] || [ "$stage" = dns ]; then
        net_verdict FAIL tcp "cannot connect to $target$by: $why" "TCP to $target" \
            "check that this host reaches $target: let it out in the firewall, and see that the server runs"
        return
    fi
    net_verdict PASS tcp "connected to $target$by" "TCP to $target"
    if [ "$stage" = tls ]; then
        net_verdict FAIL tls "$why" "the certificate of this fleet, and nobody who breaks up TLS on the way" \
            "correct the clock if it is wrong; exempt $target from TLS inspection; see that this is the right server"
        return
    fi
    net_verdict PASS tls "the server is the one of this script" "the certificate of this fleet"
}

# Seconds since 1970 of the words of an HTTP date: 22 Nov 2026 04:01:49.
epoch_of() {
    day=${1#0}
    year=$3
    case $2 in
    Jan) month=1 ;; Feb) month=2 ;; Mar) month=3 ;; Apr) month=4 ;; May) month=5 ;; Jun) month=6 ;;
    Jul) month=7 ;; Aug) month=8 ;; Sep) month=9 ;; Oct) month=10 ;; Nov) month=11 ;; Dec) month=12 ;;
    *) return 1 ;;
    esac
    hour=${4%%:*}
    minute=${4#*:}
    minute=${minute%%:*}
    second=${4##*:}
    # Years begin in March here, so that the leap day is the last one.
    if [ "$month" -le 2 ]; then
        year=$((year - 1))
        month=$((month + 12))
    fi
    days=$((365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day - 719469))
    echo $((days * 86400 + ${hour#0} * 3600 + ${minute#0} * 60 + ${second#0}))
}

# The server's time, from the Date line of its last answer.
server_time() {
    head=$work/head
    [ -s "$head" ] || head=$work/said
    [ -s "$head" ] || return 1
    found=''
    while read -r key _ day month year time _; do
        case $key in
        [Dd]ate:) found=$(epoch_of "$day" "$month" "$year" "$time") || found='' ;;
        esac
    done <"$head"
    [ -n "$found" ] && echo "$found"
}

# Without a certificate that holds, the time is asked for all the same, and used for nothing but this line.
check_clock() {
    case $1 in
    ok | http) ;;
    tls)
        ask_health --insecure --no-check-certificate || true
        ;;
    *)
        net_verdict WARN clock "not compared: the server is not reached" "within $SKEW_MAX s of the server" \
            "first what the lines after this one say"
        return
        ;;
    esac
    if ! theirs=$(server_time); then
        net_verdict WARN clock "not compared: the server tells no time" "within $SKEW_MAX s of the server" "look by hand"
        return
    fi
    ours=$(date -u +%s)
    skew=$((ours - theirs))
    if [ "$skew" -lt 0 ]; then
        skew=$((-skew))
        measured="$skew s behind the server"
    else
        measured="$skew s ahead of the server"
    fi
    status=PASS
    [ "$skew" -le "$SKEW_GOOD" ] || status=WARN
    [ "$skew" -le "$SKEW_MAX" ] || status=FAIL
    net_verdict "$status" clock "$measured" "at most $SKEW_MAX s, better $SKEW_GOOD s" \
        "set the clock: timedatectl set-ntp true, or date -s"
}

prechecks() {
    find_here
    check_system
    check_memory
    check_disk
    check_rights
    check_path
    check_tools
    [ "$host_failures" = 0 ] || fail 3 "this host cannot be a connector yet; the lines with FAIL say what to do"
    check_reach
    [ "$net_failures" = 0 ] || fail 4 "cannot download the agent from $SERVER; the lines with FAIL say what to do"
}

# What the shell cannot do, MQTT above all, the agent checks before it enrols; and that it runs here at all. Its other
# lines say what was said above, so they are shown only when one of them fails.
agent_prechecks() {
    [ "$known" = no ] || return 0
    code=0
    "$agent" --version >/dev/null 2>"$work/said" </dev/null || code=$?
    if [ "$code" = 126 ] && [ "$dry" = yes ]; then
        # A folder for temporary files may forbid programs; the prefix is another one.
        verdict WARN mqtt "not checked: no program starts from ${work%/*}" "MQTT to $SERVER" "set TMPDIR to another folder"
        return 0
    fi
    [ "$code" = 0 ] || fail 3 "the agent does not run on this host: $(cat "$work/said")"
    # An agent of an earlier version cannot.
    "$agent" check --help >/dev/null 2>&1 </dev/null || return 0
    write_proxy_settings
    for allowed in $ALLOWED; do
        if beside "$agent" check --before-enrol --prefix "$PREFIX" --server "$allowed" --ca "$work/ca.pem" \
            --ca-sha256 "$CA_SHA256" ${proxy:+--proxy "$proxy"} ${NO_PROXY_GIVEN:+--no-proxy "$NO_PROXY_LIST"} \
            ${password:+--proxy-password-file "$password"} >"$work/checks" 2>"$work/said" </dev/null; then
            while IFS= read -r line; do
                case $line in *'  mqtt '*) printf '%s\n' "$line" ;; esac
            done <"$work/checks"
        else
            cat "$work/checks"
            fail 4 "the agent does not get through to $allowed; the lines with FAIL say what to do: $(cat "$work/said")"
        fi
    done
}

# --- download

# curl waits as the server asks it to (429, 503) by itself; wget has to be told.
download() {
    if have curl; then
        on_the_way curl --fail --silent --show-error --proto '=https' --cacert "$work/ca.pem" --connect-timeout 15 \
            --max-time 600 --retry 5 --retry-max-time 120 --output "$2" "$1"
        return
    fi
    tries=1
    until on_the_way wget --no-verbose --server-response --ca-certificate="$work/ca.pem" --timeout=30 --tries=2 \
        --output-document="$2" "$1" 2>"$work/said"; do
        pause=''
        while read -r key value rest; do
            case $key-$value in
            HTTP/1.1-429 | HTTP/1.1-503) pause=${pause:-$((tries * 2))} ;;
            [Rr]etry-[Aa]fter:-[0-9]*) [ -z "$pause" ] || pause=${value%%[!0-9]*} ;;
            esac
        done <"$work/said"
        if [ -z "$pause" ] || [ "$tries" -ge 5 ]; then
            cat "$work/said" >&2
            return 1
        fi
        [ "$pause" -le 60 ] || pause=60
        say "the server is busy${rest:+ }; trying again in $pause s"
        beside sleep "$pause" </dev/null
        tries=$((tries + 1))
    done
}

# Downloads the agent to $1 and checks that it is the announced one.
fetch_agent() {
    say "downloading the agent from $SERVER"
    download "https://$SERVER$AGENT_PATH" "$1" ||
        fail 4 "cannot download the agent from https://$SERVER$AGENT_PATH; check that this host reaches $SERVER"
    found=$(sha256_of "$1")
    [ "$found" = "$AGENT_SHA256" ] ||
        fail 4 "the agent is not the announced one (sha256 $found, announced $AGENT_SHA256); add the connector again"
    chmod 755 "$1"
}

version_here() {
    version=$(printf '%.12s' "$AGENT_SHA256")
    agent=$PREFIX/agent/versions/$version/muster-agent
    [ -x "$agent" ] && [ "$(sha256_of "$agent")" = "$AGENT_SHA256" ]
}

# What a run left that was killed on the way.
sweep() {
    for left in "$PREFIX/agent/versions"/.download.*; do
        if [ -f "$left" ] && ! kill -0 "${left##*.}" 2>/dev/null; then
            rm -f -- "$left"
        fi
    done
}

# Sets agent to the program to use.
install_agent() {
    if ! make_folder "$PREFIX/agent/versions" || ! make_folder "$PREFIX/state"; then
        fail 3 "cannot write to $PREFIX; run this as root, or add the connector again with --prefix DIR"
    fi
    if [ -z "$AGENT_PATH" ]; then
        agent=$(command -v muster-agent) || fail 4 "muster-agent is not on the PATH; install it first"
        return
    fi
    sweep
    if version_here; then
        say "the agent is here already"
    else
        partial=$PREFIX/agent/versions/.download.$$
        fetch_agent "$partial"
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

# --- enrolment

is_enrolled() {
    [ -s "$PREFIX/state/identity/cert.pem" ]
}

enrol() {
    stamp=$PREFIX/state/enrolled-with
    # The token works once, so its digest says whether this very script enrolled the host before.
    digest=$(token | sha256)
    force=''
    if is_enrolled; then
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
    write_proxy_settings
    beside "$agent" enrol --prefix "$PREFIX" --server "$SERVER" --name "$NAME" \
        --ca "$work/ca.pem" ${force:+--force} ${POOL:+--pool "$POOL"} \
        ${proxy:+--proxy "$proxy"} ${NO_PROXY_GIVEN:+--no-proxy "$NO_PROXY_LIST"} \
        ${password:+--proxy-password-file "$password"} >"$work/enrolled" <<MUSTER_STDIN ||
$(token)
MUSTER_STDIN
        fail 5 "not enrolled; for a new token run on the server: muster connector add $NAME --renew (--reinstall if it was removed)"
    enrolled=yes
    # How it is started is this script's to say.
    told=$(cat "$work/enrolled")
    [ -z "$told" ] || say "${told%%; start it with*}"
    replaced=${force:-no}
    printf '%s\n' "$digest" >"$stamp"
}

# --- the service

agent_runs() {
    case $("$agent" status --prefix "$PREFIX" --json 2>/dev/null </dev/null) in
    *'"agent_runs":true'* | *'"agent_runs": true'*) return 0 ;;
    *) return 1 ;;
    esac
}

# The agent knows how to become a service here: a unit of systemd, or a process in the background without it.
start() {
    if [ "$replaced" = no ] && agent_runs; then
        say "the agent runs already"
        return 0
    fi
    "$agent" install --prefix "$PREFIX" --no-start </dev/null || fail 6 "the agent is enrolled, but is no service here"
    "$agent" restart --prefix "$PREFIX" </dev/null ||
        fail 6 "the agent is enrolled, but did not start; see: $agent status --prefix $PREFIX"
}

# A process that runs proves little; that the server has taken this host's first report is what counts.
confirm() {
    say "waiting for the server to confirm the first check-in"
    beside "$agent" status --prefix "$PREFIX" --wait "$CONFIRM_SECONDS" >/dev/null </dev/null ||
        fail 7 "not confirmed yet; the agent goes on trying. See: $agent status --prefix $PREFIX"
    say "confirmed by the server"
}

# --- all of it

rehearse() {
    say "would install the agent to $PREFIX and enrol this host as $NAME at $SERVER"
    if is_enrolled && [ "$RENEW" = no ]; then
        say "this host is enrolled already; its identity would be kept"
    fi
    if [ -n "$AGENT_PATH" ]; then
        # In a folder that goes: this is for the agent's own checks.
        agent=$work/muster-agent
        fetch_agent "$agent"
    else
        agent=$(command -v muster-agent)
    fi
    agent_prechecks
    [ "$START" = no ] || say "would start the agent and wait for the server's word"
    say "dry run: nothing was changed, and the token is still good"
}

main() {
    for argument in "$@"; do
        case $argument in
        --no-start) START=no ;;
        --dry-run) dry=yes ;;
        --help)
            usage
            exit 0
            ;;
        *) fail 2 "unknown argument $argument; --dry-run, --no-start and --help are known" ;;
        esac
    done
    if [ "$PREVIEW" = yes ] && [ "$dry" = no ]; then
        fail 2 "this is a preview and has no token; run on the server: muster connector add $NAME"
    fi
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 131' QUIT
    # Nobody reads any more: an ssh that broke, above all.
    trap 'exit 141' PIPE
    trap 'exit 143' TERM
    work=$(mktemp -d) || fail 3 "cannot make a temporary folder; check TMPDIR"
    write_ca
    check_ca
    choose_prefix
    choose_way
    if is_enrolled && { [ -z "$AGENT_PATH" ] || version_here; }; then
        known=yes
    fi
    prechecks
    if [ "$dry" = yes ]; then
        rehearse
        return 0
    fi
    install_agent
    agent_prechecks
    enrol
    if [ "$START" = no ]; then
        if [ "$replaced" = yes ]; then
            say "an agent that runs keeps its old identity until it is stopped and started again"
        fi
        say "done; start the agent with: $agent run --prefix $PREFIX"
        return 0
    fi
    start
    confirm
    say "done; on the server: muster connector show $NAME"
}

# Everything is a function, so a script that was cut off on the way does nothing.
main "$@"

# Shared by the scenarios: `. "$(dirname "$0")/lib.sh"` first thing.
#
# Everything a scenario makes lies beneath $work, and everything it starts is
# stopped at the end, by pid, with what descends from it.
#
#   fail WORDS               end the scenario
#   note WORDS               a line in the output, seen when it fails
#   run WORD...              run it; stdout in $work/out, stderr in $work/err, status in $rc
#   expect RC WORD...        the same, and the status must be RC
#   json EXPRESSION          what Python makes of it, d being the JSON in $work/out
#   is EXPRESSION VALUE      json EXPRESSION is just that
#   has TEXT [FILE]          FILE (default $work/out) holds TEXT; hasnt: does not
#   await SECONDS WHAT CMD   until CMD succeeds; fails with WHAT
#   spawn NAME WORD...       run in the background, output in $work/NAME.log; pid in ${pid[NAME]}
#   stop NAME [SIGNAL]       end that and all it started
#   tree PID                 PID and all its descendants
#   with_environment TEXT    pids of what has that in its environment
#   leftovers                processes that have to do with $work (none is right at the end)
#   free_port                a TCP port of loopback that nothing listens on
#   tool NAME                path of tests/tools/NAME
#
# A private sshd (OpenSSH of the system, loopback only), its user the one who runs the test:
#
#   sshd NAME [OPTION...] [-- DIRECTIVE...]
#       --shell PATH      login shell        (these three need root: a private mount
#       --password WORD   password            namespace with a passwd and shadow of its own)
#       --guest UID       a second user there, `guest`: its home/ is the guest's, /tmp is the machine's
#       --pam             UsePAM
#       --address A       listen on A (default 127.0.0.1)
#       --host-key FILE   use that host key instead of a new one
#   sets ${port[NAME]}, ${pid[NAME]}; $work/NAME holds home/ (its user's), host_key[.pub],
#   authorized_keys, sshd_config, log. Directives given come before ours, so they win.
#
# The client's side: HOME $work/client, keys and known_hosts in its .ssh.
#
#   client_key [NAME] [ssh-keygen words]   make $work/client/.ssh/NAME (default id_ed25519)
#   authorize SSHD [KEY]                   let KEY (default id_ed25519) in
#   know SSHD [NAME...]                    put its host key into the client's known_hosts
#   as_client WORD...                      run with the client's HOME and GPURUN_HOME, nothing else
#   gpurun WORD...                         as_client with the program under test

set -euo pipefail
# Errors in functions, too, should say where.
set -E
trap 'echo "failed at line $LINENO of $0: $BASH_COMMAND" >&2' ERR

TOP=${TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
BUILD=$(realpath "${BUILD:-$TOP/build/dev}")
work=$(mktemp -d "${TMPDIR:-/tmp}/gpurun-scenario.XXXXXX")
arch=$(uname -m)
rc=0
declare -A pid=() port=()
client=$work/client
mkdir -p "$client/.ssh"
chmod 700 "$client" "$client/.ssh"

# ---- saying and checking ----

note() { echo "-- $*"; }

fail() {
    trap - ERR
    echo "FAIL: $*"
    local f
    for f in "$work/out" "$work/err"; do
        [ -s "$f" ] && { echo "   $(basename "$f"):"; tail -c 3000 "$f" | sed 's/^/   | /'; }
    done
    exit 1
}

run() {
    rc=0
    "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
}

expect() {
    local want=$1
    shift
    run "$@"
    [ "$rc" = "$want" ] || fail "exit status $rc instead of $want: $*"
}

json() { # EXPRESSION over d, what the last one printed as JSON
    /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/out" "$1"
}
is() { # EXPRESSION VALUE
    [ "$(json "$1")" = "$2" ] || fail "$1 is $(json "$1"), not $2"
}

has() { grep -qF -- "$1" "${2:-$work/out}" || fail "no '$1' in ${2:-stdout}"; }
hasnt() { ! grep -qF -- "$1" "${2:-$work/out}" || fail "'$1' in ${2:-stdout}"; }

# await SECONDS WHAT COMMAND...: it comes true, in three times as long at the most where others are at
# work on the machine, and as much longer where what watches makes all slow.
await() {
    local seconds=$(($1 * 3 * ${SLOW:-1})) what=$2 end ms=20
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "not within $seconds s: $what"
        sleep "0.$(printf %03d $ms)" # ever less often: to look is work for the machine, too
        ms=$((ms < 250 ? ms * 5 / 4 : 250))
    done
}

tool() { echo "$BUILD/tests/tools/$1"; }

# ---- processes ----

tree() {
    local p=$1 c
    echo "$p"
    for c in $(cat "/proc/$p"/task/*/children 2>/dev/null); do
        tree "$c"
    done
}

with_environment() { # TEXT: numbers of the processes that have it there
    { grep -laF -- "$1" /proc/[0-9]*/environ 2>/dev/null || true; } | cut -d/ -f3
}

spawn() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    pid[$name]=$!
}

alive() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
gone() { ! alive "$1"; }

stop() {
    local name=$1 signal=${2:-TERM} all p
    [ -n "${pid[$name]:-}" ] || return 0
    all=$(tree "${pid[$name]}")
    # Top down, so that nothing is restarted.
    for p in $all; do
        kill -"$signal" "$p" 2>/dev/null || true
    done
    for p in $all; do
        local end=$((SECONDS + 5))
        while alive "$p" && [ $SECONDS -lt $end ]; do
            sleep 0.02
        done
        kill -KILL "$p" 2>/dev/null || true
    done
    wait "${pid[$name]}" 2>/dev/null || true
    unset "pid[$name]"
}

# Numbers of what may have to do with $work: three programs look at all there is, and are gone then.
near_work() {
    {
        find /proc/[0-9]*/exe /proc/[0-9]*/cwd -maxdepth 0 -lname "*$work*" || true
        grep -laF -- "$work" /proc/[0-9]*/cmdline || true
    } 2>/dev/null | cut -d/ -f3 | sort -un
}

leftovers() {
    local p exe cwd
    for p in $(near_work); do
        [ "$p" != $$ ] && [ "$p" != "$BASHPID" ] || continue
        p=/proc/$p
        exe=$(readlink "$p/exe" 2>/dev/null) || continue
        cwd=$(readlink "$p/cwd" 2>/dev/null) || continue
        case "$exe $cwd $(tr '\0' ' ' <"$p/cmdline" 2>/dev/null)" in
        *"$work"*) [ "$(ps -o ppid= -p "${p#/proc/}" | tr -d ' ')" = "$BASHPID" ] ||
            echo "${p#/proc/}: $exe $(tr '\0' ' ' <"$p/cmdline" 2>/dev/null)" ;;
        esac
    done
}

# await_none SECONDS REGEX: no such process is left. What is left is read first and
# searched then: a grep beside the search would find itself.
await_none() {
    local seconds=$(($1 * 3 * ${SLOW:-1})) left
    local end=$((SECONDS + seconds))
    while left=$(leftovers) && [[ $left =~ $2 ]]; do
        [ $SECONDS -lt $end ] || fail "left over after $seconds s: $left"
        sleep 0.05
    done
}

# A supervisor outlives everybody, also a scenario that failed; its job goes with it.
end_jobs() {
    local p job
    for p in $(with_environment "HOME=$work"); do
        if [[ $(tr '\0' ' ' <"/proc/$p/cmdline") == *"gpurun-agent supervise"* ]]; then
            job=$(tr '\0' '\n' <"/proc/$p/cmdline" | tail -n 1)
            kill -KILL "$p" 2>/dev/null
            rm -rf "/tmp/gpurun-$job" # its TMPDIR
        fi
    done 2>/dev/null
}

# What a scenario has to clean up itself; it may define its own.
at_end() { :; }

finish_scenario() {
    local status=$? name
    trap - ERR
    set +e
    at_end
    if [ $status != 0 ]; then
        for name in "$work"/*/log; do
            [ -s "$name" ] && { echo "   end of $name:"; tail -n 6 "$name" | sed 's/^/   | /'; }
        done
    fi
    for name in "${!pid[@]}"; do
        stop "$name"
    done
    end_jobs
    chmod -R u+rwx "$work" 2>/dev/null
    rm -rf "$work"
    exit $status
}
trap finish_scenario EXIT
trap 'exit 130' INT TERM HUP

# ---- sshd ----

sshd_program=$(command -v sshd || echo /usr/sbin/sshd)
# Half of what a connection costs sshd is to start itself anew for it, and a key exchange that outlives
# quantum computers: only where that is looked at (10-transport) is it as a system has it.
sshd_quick=(-r -o KexAlgorithms=curve25519-sha256)

listening() { # address port
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

# Below the ports that connections get (32768 and on): of those one may go any moment.
free_port() {
    local p
    while :; do
        p=$((20000 + RANDOM % 12000))
        listening 127.0.0.1 "$p" || break
    done
    echo "$p"
}

# Its own passwd and shadow: who runs this, with that shell, home and password.
sshd_accounts() { # dir shell password guest
    local dir=$1 shell=$2 guest=$4 me
    me=$(id -un)
    awk -F: -v OFS=: -v me="$me" -v home="$dir/home" -v shell="$shell" \
        '$1 == me { $6 = home; if (shell != "") $7 = shell } { print }' /etc/passwd >"$dir/passwd"
    awk -F: -v OFS=: -v me="$me" -v hash="$([ -z "$3" ] || openssl passwd -6 "$3")" \
        '$1 == me && hash != "" { $2 = hash; $3 = 19000; $5 = 99999; $8 = "" } { print }' /etc/shadow >"$dir/shadow"
    if [ -n "$guest" ]; then
        echo "guest:x:$guest:$guest::$dir/home:/bin/sh" >>"$dir/passwd"
        echo 'guest:*:19000:0:99999:7:::' >>"$dir/shadow"
        chown "$guest:$guest" "$dir/home"
        chmod 711 "$work" "$dir"
    fi
    chmod 644 "$dir/passwd"
    chmod 600 "$dir/shadow"
}

sshd_listens() { grep -q '^Server listening' "$1/log"; }

sshd() {
    local name=$1 shell='' password='' guest='' pam=no address=127.0.0.1 key='' dir=$work/$1
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --shell) shell=$2; shift 2 ;;
        --password) password=$2; shift 2 ;;
        --guest) guest=$2; shift 2 ;;
        --pam) pam=yes; shift ;;
        --address) address=$2; shift 2 ;;
        --host-key) key=$2; shift 2 ;;
        --) shift; break ;;
        *) break ;;
        esac
    done
    [ -x "$sshd_program" ] || { echo "no sshd here"; exit 77; }
    [ -d /run/sshd ] || [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    mkdir -p "$dir/home"
    chmod 700 "$dir" "$dir/home"
    [ -f "$dir/authorized_keys" ] || : >"$dir/authorized_keys"
    if [ -n "$key" ]; then
        cp "$key" "$dir/host_key"
        cp "$key.pub" "$dir/host_key.pub"
    elif [ ! -f "$dir/host_key" ]; then
        ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$dir/host_key"
    fi
    local try
    for try in 1 2 3 4 5; do
        port[$name]=${port[$name]:-$(free_port)}
        {
            printf '%s\n' "$@"
            cat <<CONF
ListenAddress $address:${port[$name]}
HostKey $dir/host_key
PidFile none
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
UsePAM $pam
PasswordAuthentication $([ -n "$password" ] && echo yes || echo no)
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
SetEnv HOME=$dir/home
CONF
        } >"$dir/sshd_config"
        [ "$address" != ::1 ] || sed -i "s/^ListenAddress ::1:/ListenAddress [::1]:/" "$dir/sshd_config"
        : >"$dir/log"
        if [ -n "$shell$password$guest" ] || [ $pam = yes ]; then
            [ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
            sshd_accounts "$dir" "$shell" "$password" "$guest"
            # shellcheck disable=SC2016
            unshare -m sh -c 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow &&
                d=$1 && shift && exec "$@" -D -e -f "$d/sshd_config"' - "$dir" "$sshd_program" "${sshd_quick[@]}" 2>"$dir/log" &
        else
            "$sshd_program" -D -e "${sshd_quick[@]}" -f "$dir/sshd_config" 2>"$dir/log" &
        fi
        pid[$name]=$!
        local end=$((SECONDS + 30))
        until sshd_listens "$dir"; do
            alive "${pid[$name]}" && [ $SECONDS -lt $end ] || break
            sleep 0.02
        done
        sshd_listens "$dir" && return 0
        grep -q 'Address already in use' "$dir/log" || break
        unset "port[$name]" "pid[$name]"
    done
    fail "sshd $name does not start: $(cat "$dir/log")"
}

# ---- the client's side ----

client_key() {
    local name=${1:-id_ed25519}
    [ $# -eq 0 ] || shift
    [ $# -gt 0 ] || set -- -t ed25519 -N ''
    ssh-keygen -q -C "$name" -f "$client/.ssh/$name" "$@"
}

authorize() {
    cat "$client/.ssh/${2:-id_ed25519}.pub" >>"$work/$1/authorized_keys"
}

know() {
    local name=$1 p=${port[$1]} as
    shift
    [ $# -gt 0 ] || set -- 127.0.0.1
    for as in "$@"; do
        [ "$p" = 22 ] || as="[$as]:$p"
        echo "$as $(cut -d' ' -f1,2 "$work/$name/host_key.pub")" >>"$client/.ssh/known_hosts"
    done
}

as_client() {
    env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC \
        ${GPURUN_SSH:+GPURUN_SSH="$GPURUN_SSH"} ${SSH_AUTH_SOCK:+SSH_AUTH_SOCK="$SSH_AUTH_SOCK"} "$@"
}

gpurun() { as_client "$BUILD/bin/gpurun" "$@"; }

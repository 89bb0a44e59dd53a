# Shared by the scenarios of the host side: `. "$(dirname "$0")/jobs.sh"` after lib.sh and hosts.sh.
#
#   agent_home            the home of the agent of `local`
#   owner WORD...         gpurun-agent as the owner of `local` runs it
#   record JOB            directory of its record, JOB being a name or an id
#   field JOB KEY         a line of its state record (the host's own word), "" where there is none
#   settled JOB           it is final by that record
#   supervisor JOB        pid of its supervisor
#   guard JOB             pid of its guard
#   processes JOB         pids of everything the guard looks after, the guard not counted
#   marked WORD           pids that have WORD as an argument (one per line)
#   none_marked WORD      there are none
#   receipt JOB KEY       a number or word of its bill, as JSON knows it

agent_home=$client/gpurun/local

owner() { as_client env GPURUN_AGENT_HOME="$agent_home" "$BUILD/bin/gpurun-agent" "$@"; }

record() {
    local d
    for d in "$agent_home"/renters/*/jobs/"$1"; do
        [ ! -d "$d" ] || { echo "$d"; return 0; }
    done
    d=$(grep -lxF -- "name=$1" "$agent_home"/renters/*/jobs/*/state 2>/dev/null) || return 1
    dirname "$d"
}
field() { sed -n "s/^$2=//p" "$(record "$1")/state"; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }
settled() { is "$1" state ended || is "$1" state lost; }

supervisor() { field "$1" pid; }
guard() {
    local p
    for p in $(cat "/proc/$(supervisor "$1")"/task/*/children); do
        [ "$(cat "/proc/$p/comm" 2>/dev/null)" != gpurun-guard ] || echo "$p"
    done
}
processes() {
    local g
    g=$(guard "$1")
    [ -z "$g" ] || tree "$g" | tail -n +2
}

marked() {
    grep -lzxF -- "$1" /proc/[0-9]*/cmdline 2>/dev/null | while IFS=/ read -r _ _ p _; do
        case $(cat "/proc/$p/comm" 2>/dev/null) in
        grep | gpurun) ;; # this very search, and clients
        *) ! alive "$p" || echo "$p" ;;
        esac
    done
}
some_marked() { [ -n "$(marked "$1")" ]; }
none_marked() { [ -z "$(marked "$1")" ]; }

receipt() {
    gpurun --json bill "$1" | /usr/bin/python3 -c '
import json, sys
v = json.load(sys.stdin)
for k in sys.argv[1].split("."):
    v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$2"
}

#!/bin/bash
# A thousand jobs in a row, among them each exit status from 0 to 255, leave no process, mount, control
# group or temporary file behind, and the agent's home grows by their records and snapshots only. Thirty
# in a build that is made slow by what it watches.
# needs: pipe
# limit: 900
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

COUNT=1000
[ "${SLOW:-1}" = 1 ] || COUNT=30
mkdir -p "$work/p"
cd "$work/p"
cat >job.py <<'PY'
import sys
print("code " + sys.argv[1], end="")
print("e" + sys.argv[1], end="", file=sys.stderr)
sys.exit(int(sys.argv[1]))
PY

groups() { find /sys/fs/cgroup -type d -name "gpurun-j*" 2>/dev/null; }
# What is ours and nobody's job: all of the agent's home but records, packs, indices and manifests.
other_files() {
    find "$agent_home" \( -path '*/jobs/*' -o -path '*/store/*' -o -path '*/work/*' \) -prune -o -type f -print | LC_ALL=C sort
}
locks() { find /run/lock/gpurun-devices -type f 2>/dev/null | wc -l; }
ids() { find "$agent_home"/renters/*/jobs -mindepth 1 -maxdepth 1 -name 'j*' -printf '%f\n'; }

# coded N STATUS WORD...: this job, N by name, has that status to itself, and its output.
coded() {
    local n=$1 c=$2
    shift 2
    run gpurun -q --name "n$n" "$@"
    [ "$rc" = "$c" ] || fail "exit status $rc instead of $c"
    [ "$(cat "$work/out")/$(cat "$work/err")" = "code $c/e$c" ] || fail "output of $c"
    echo "n$n $c exited" >>"$work/codes"
}

# one N: the five kinds of life in turn.
one() {
    local c=$((($1 / 5 * 2 + $1 % 5) % 256))
    case $(($1 % 5)) in
    0) coded "$1" $c job.py $c ;;
    1) coded "$1" $c -- sh -c "sleep 600 & printf 'code $c'; printf e$c >&2; exit $c" ;;
    2) expect 143 gpurun -q -- sh -c 'setsid sleep 600 & kill $$' ;;
    3) expect 102 gpurun -q -- /no/such/program ;;
    4)
        expect 0 gpurun -q -d --name "d$1" -- sleep 600
        await 30 "d$1 runs" is "d$1" state running # stopped before that it has no status: 102
        expect 137 gpurun -q stop --now "d$1"
        ;;
    esac
}

for n in 1 2 3 4 5 6 7 8 9 10; do one $n; done
files=$(other_files) locks=$(locks)
mounts=$(wc -l </proc/self/mountinfo)
for ((n = 11; n <= COUNT; n++)); do one $n; done

[ "$(ids | wc -l)" = "$COUNT" ] || fail "$(ids | wc -l) records of $COUNT jobs"
[ -z "$(leftovers)" ] || fail "processes: $(leftovers)"
[ "$(wc -l </proc/self/mountinfo)" = "$mounts" ] || fail "mounts: $mounts before, $(wc -l </proc/self/mountinfo) now"
# Devices of scenarios beside this one come and go: a few, not one for each job.
[ $(($(locks) - locks)) -lt 50 ] || fail "device locks: $locks before, $(locks) now"
ids >"$work/ids" # others may use shared memory at the same time
[ -z "$(find /dev/shm 2>/dev/null | grep -F -f "$work/ids")" ] || fail "shared memory"
[ -z "$(find /tmp "${TMPDIR:-/tmp}" -maxdepth 1 -name 'gpurun-j*' | grep -F -f "$work/ids")" ] || fail "temporary files"
[ -z "$(groups | grep -F -f "$work/ids")" ] || fail "control groups"
diff <(echo "$files") <(other_files) >"$work/out" || fail "the agent's home has other files"
[ -z "$(find "$agent_home"/renters/*/jobs -name sock)" ] || fail "sockets"
[ -z "$(grep -L -x 'state=ended' "$agent_home"/renters/*/jobs/*/state)" ] || fail "jobs that have not ended"
awk -F= '{ v[FILENAME, $1] = $2; file[FILENAME] = 1 }
    END { for (f in file) if (v[f, "name"] ~ /^n[0-9]/) print v[f, "name"], v[f, "exit_code"], v[f, "reason"] }' \
    "$agent_home"/renters/*/jobs/*/state | sort >"$work/have"
sort "$work/codes" >"$work/want"
same "$work/have" "$work/want" "the exit codes by the host's records"
[ $COUNT -lt 1000 ] || [ "$(cut -d' ' -f2 "$work/codes" | sort -u | wc -l)" = 256 ] || fail "not every exit status was there"
# The newest few directories are kept to be taken over; what else is there is theirs.
left=$(find "$agent_home"/renters/*/work -mindepth 1 -maxdepth 1 -type d | wc -l)
[ "$left" -le 12 ] || fail "$left job directories are left"
expect 0 owner fsck

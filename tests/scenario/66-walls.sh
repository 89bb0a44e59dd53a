#!/bin/bash
# What a job may not do: read or change the agent's home, speak to its supervisor, signal or trace
# it, gain privileges, undo its walls. And what no secret may do: be found anywhere.
# needs: pipe root
# limit: 200
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
expect 0 gpurun -q host show local

cat >attack.sh <<'SH'
# attack.sh AGENT_HOME RECORD SUPERVISOR: prints what worked; nothing should.
home=$1 record=$2 supervisor=$3
try() { # WHAT COMMAND...
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "WORKED: $what"; fi
}
try 'read the host key' cat "$home/key"
try 'read its own journal' cat "$record/usage"
try 'read its own grant' cat "$record/grant"
try 'list the renters' sh -c 'ls "$1"/renters/*/jobs | grep .' sh "$home"
try 'rewrite its journal' sh -c 'echo x >>"$1/usage"' sh "$record"
try 'replace its state' sh -c 'echo x >"$1/state"' sh "$record"
try 'reach its socket' /usr/bin/python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])' "$record/sock"
try 'make a file in the home' sh -c ': >"$1/new"' sh "$home"
try 'remove the home' rm -rf "$home/renters"
try 'unmount the cover' umount "$home"
try 'unmount it lazily' umount -l "$home"
try 'mount over it' mount -t tmpfs none "$home"
try 'bind the root elsewhere' mount --bind / /mnt
try 'a new mount name space' unshare -m true
try 'a new user name space and a mount' unshare -Urm mount -t tmpfs none /mnt
try 'enter the name space of init' nsenter -t 1 -m true
try 'see the supervisor' test -d "/proc/$supervisor/fd"
try 'kill the supervisor' kill -KILL "$supervisor"
try 'kill the guard' sh -c 'kill -KILL 1; sleep 0.2; kill -0 1 && exit 1'
try 'read the memory of the guard' head -c 1 /proc/1/mem
try 'the root of the guard' ls /proc/1/root/
try 'the descriptors of the guard' sh -c 'readlink /proc/1/fd/3 || : </proc/1/fd/3'
try 'the environment of the guard' cat /proc/1/environ
try 'gain privileges' sh -c 'grep -q "^NoNewPrivs:.0" /proc/self/status'
try 'load a module' modprobe dummy
try 'make a device node' mknod node b 254 0
try 'trace the guard' /usr/bin/python3 -c '
import ctypes, sys
c = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if c.ptrace(16, 1, 0, 0) == 0 else 1)'
# A descriptor that was open before the walls stood would be a way around them.
for fd in /proc/self/fd/*; do
    case $(readlink "$fd" 2>/dev/null) in
    "$home"/*/work/*) ;;
    "$home"*) echo "WORKED: an open descriptor: $(readlink "$fd")" ;;
    esac
done
env | grep -E '^(GPURUN_HOME|GPURUN_AGENT_HOME|SSH_)' && echo 'WORKED: variables that are none of its business'
echo done
SH
try_it() { # NAME WORD... : a job that waits for what it is told, then attacks
    local name=$1
    shift
    gpurun -q -d --name "$name" "$@" -- sh -c 'until [ -s go ]; do sleep 0.05; done; sh attack.sh $(cat go)' >"$work/id"
    await 30 "it runs" is "$name" state running
    echo "$agent_home $(record "$name") $(supervisor "$name")" >"$(field "$name" workdir)/go"
    expect 0 gpurun -q logs -f "$name"
    [ "$(cat "$work/out")" = done ] || fail "the job could: $(cat "$work/out")"
    is "$name" state ended || fail "state $(field "$name" state)"
    [ -s "$agent_home/key" ] && [ -d "$(record "$name")" ] || fail "something is gone"
}
note "the login user's own job"
try_it attack

note "the supervisor and the guard are not dumpable"
gpurun -q -d --name quiet -- sleep 600 >"$work/id"
await 30 "it runs" is quiet state running
for q in "$(supervisor quiet)" "$(guard quiet)"; do
    # Files in /proc of what is not dumpable belong to root only: seen best without the capabilities that look into everything.
    ! setpriv --bounding-set=-sys_ptrace,-perfmon,-sys_admin --inh-caps=-sys_ptrace,-perfmon,-sys_admin cat "/proc/$q/environ" >/dev/null 2>&1 ||
        fail "process $q is dumpable"
done
gpurun -q stop --now quiet >/dev/null 2>&1 || true

note "temporary files and the directory are private"
gpurun -q -d --name modes -- sh -c 'stat -c %a "$TMPDIR" >m; echo x >"$TMPDIR/f"; cp "$TMPDIR/f" kept; sleep 600' >"$work/id"
await 30 "it runs" is modes state running
await 30 "it wrote" test -s "$(field modes workdir)/kept"
[ "$(cat "$(field modes workdir)/m")" = 700 ] || fail "TMPDIR is $(cat "$(field modes workdir)/m")"
gpurun -q stop --now modes >/dev/null 2>&1 || true
[ -z "$(find /tmp "${TMPDIR:-/tmp}" -maxdepth 1 -name "gpurun-$(basename "$(record modes)")")" ] || fail "TMPDIR is left"

note "a secret is the job's alone: in no file, no argument, no log, no JSON"
export CANARY="canary-$$-$(date +%s%N)-secret"
secret() { as_client CANARY="$CANARY" "$BUILD/bin/gpurun" "$@"; }
secret -q -d --secret CANARY --name secret -- sh -c 'until [ -e told ]; do sleep 0.05; done
    [ "$CANARY" = "$(cat told)" ] && echo "it is the right one" && sleep 600' >"$work/id" 2>"$work/err"
await 30 "it runs" is secret state running
printf %s "$CANARY" >"$(field secret workdir)/told"
await 20 "it has it" sh -c "grep -q 'right one' '$(record secret)'/log/out.*"
rm "$(field secret workdir)/told"
# While it runs: command lines of everybody.
printf '%s\n' "$CANARY" >"$work/canary" # not as an argument of the search
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -Ff "$work/canary" >"$work/argv" || true
[ ! -s "$work/argv" ] || fail "in a command line: $(cat "$work/argv")"
secret --json ps -a >"$work/json1"
secret exec secret -- sh -c 'test -n "$CANARY"' || fail "exec has no secrets of the job"
gpurun -q stop --now secret >/dev/null 2>&1 || true
secret --json wait secret >"$work/json2" || true
secret --json bill secret >"$work/json3"
secret --json snap show "$(field secret snapshot)" >"$work/json4"
secret logs secret >"$work/json5" 2>&1
! grep -lF "$CANARY" "$work"/json* || fail "in what we print"
! grep -rlF "$CANARY" "$client" "$work/p" 2>/dev/null || fail "in a file"
# Packs are compressed: what the snapshots hold is looked at unpacked.
rm -rf "$work/got"
expect 0 gpurun -q snap get -o "$work/got" "$(field secret snapshot)"
! grep -rlF "$CANARY" "$work/got" || fail "in the snapshot"
find "$agent_home" -path '*/store/*' -type f | while read -r f; do
    zstd -dcfq "$f" 2>/dev/null | grep -qF "$CANARY" && echo "$f"
done >"$work/packs" || true
[ ! -s "$work/packs" ] || fail "in a pack: $(cat "$work/packs")"

note "resume asks for it anew"
run gpurun -q resume secret -- true
[ "$rc" = 100 ] || fail "resume without the secret: $rc"
has CANARY "$work/err"

[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"

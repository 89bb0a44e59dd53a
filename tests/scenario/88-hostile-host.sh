#!/bin/bash
# A host that lies: offers and receipts signed by another key, a bill that is too high, trees
# with a byte turned or with names that lead out of where they are put. Each is refused, and
# nothing is left of it on this side. And it is the owner's key that counts, not the sshd's.
# One that falls silent in the middle of a frame while its agent answers pings is waited for a minute.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p" "$work/evil-home" "$work/out-here"
cp "$(tool hostile/agent)" "$work/agent"
lie() { echo "$*" >"$work/agent.lie"; }
honest() { rm -f "$work/agent.lie"; }
evil_owner() { env -i PATH="$PATH" HOME="$work" GPURUN_AGENT_HOME="$work/evil-home" "$work/agent" "$@"; }
client_key
sshd evil -- "ForceCommand env GPURUN_AGENT_HOME=$work/evil-home $work/agent serve"
authorize evil
know evil
# One more for what takes its minute: what the host local keeps is read where it lies.
mkdir -p "$work/quiet" "$work/quiet-home"
cp "$(tool hostile/agent)" "$work/quiet/agent"
sshd quiet -- "ForceCommand env GPURUN_AGENT_HOME=$work/quiet-home $work/quiet/agent serve"
authorize quiet
know quiet
cd "$work/p"
expect 0 gpurun -q host add evil "127.0.0.1:${port[evil]}"
evil_owner price set cpu=360 >/dev/null
cat >job.sh <<'SH'
echo ran
head -c 300000 /dev/urandom >EVIL
mkdir -p sub && seq 20000 >sub/numbers
SH

note "hosts that fall silent: their minute goes by beside all that follows"
# installed NAME: a client whose host local lies, its home beside it.
installed() {
    mkdir -p "$work/$1/bin"
    cp "$BUILD/bin/gpurun" "$work/$1/bin/"
    cp -r "$BUILD/lib" "$work/$1/lib"
    cp "$(tool hostile/agent)" "$work/$1/lib/gpurun/agent/$arch/gpurun-agent"
}
with() { # NAME WORD...
    as_client env GPURUN_HOME="$work/$1/gpurun" "$work/$1/bin/gpurun" "${@:2}"
}
silence() { echo "$2" >"$work/$1/lib/gpurun/agent/$arch/gpurun-agent.lie"; }
# left NAME WHAT WORD...: in the background; its status then in NAME.WHAT.rc
left() {
    (
        rc=0
        with "$1" "${@:3}" >"$work/$1.$2.out" 2>"$work/$1.$2.err" </dev/null || rc=$?
        echo $rc >"$work/$1.$2.rc"
    ) &
}
mkdir "$work/few" # another directory: what hosts have of this one is noted for each
echo 'head -c 300000 /dev/urandom >data' >"$work/few/job.sh"
cd "$work/few"
installed silent
expect 0 with silent -q host add quiet "127.0.0.1:${port[quiet]}"
expect 0 with silent -q run --host quiet --name made job.sh
installed mute
expect 0 with mute -q run --host local job.sh
head -c 300000 /dev/urandom >more
echo 'silent 5000' >"$work/quiet/agent.lie"
silence mute 'mute 4'
left silent get -q snap get made -o "$work/few.got"
left mute run -q run --host local job.sh
left mute array run --array 1-2 --host local job.sh
cd "$work/p"

n_jobs() { find "$work/evil-home" -path "*/renters/*/jobs/*" -name "j*" -prune -print | wc -l; }

for t in libssh ssh; do
    [ $t = ssh ] && export GPURUN_SSH=/usr/bin/ssh || unset GPURUN_SSH
    note "$t: an offer signed by another key"
    jobs=$(n_jobs)
    lie offer
    expect 101 gpurun -q run --host evil --max-cost 1 job.sh
    has "signed by another host's key" "$work/err"
    expect 101 gpurun -q plan --host evil --max-cost 1 job.sh
    [ "$(n_jobs)" = "$jobs" ] || fail "a job was begun under such an offer"

    note "$t: a receipt signed by another key, and a bill that is too high: the job's end is told, the bill refused"
    for as in receipt charge; do
        lie $as
        expect 0 gpurun run --host evil --max-cost 1 --name "$as-$t" -- sleep 2
        has "is refused: record" "$work/err"
        expect 101 gpurun bill "$as-$t"
        [ $as = charge ] || has "another key than the host's" "$work/err"
        [ $as = receipt ] || /usr/bin/python3 - "$work/err" <<'PY' || fail "not told what it should cost: $(cat "$work/err")"
import re, sys
asked, right = re.search(r"a cost of (\d+) fen, which should be (\d+)", open(sys.argv[1]).read()).groups()
assert int(asked) == 2 * int(right) >= 40, (asked, right)
PY
        expect 100 gpurun bill --verify "$as-$t"
        has "no receipt" "$work/err"
    done
    honest
    expect 0 gpurun run --host evil --max-cost 1 --name "fine-$t" -- sleep 2
    expect 0 gpurun bill --verify "fine-$t"
done
unset GPURUN_SSH

note "what it tells of another host's job is no news of that job, nor an answer about its own"
expect 0 gpurun -q host add quiet "127.0.0.1:${port[quiet]}"
expect 0 gpurun -q run --host quiet --name theirs -- true
ps_of() { # the rows of that job
    expect 0 gpurun --json ps -a
    json "[(j['host'], j['cost_fen']) for j in d['jobs'] if j['id'] == '$theirs']"
}
expect 0 gpurun --json bill theirs
theirs=$(json 'd["job"]')
expect 0 gpurun -q run -d --host evil --max-cost 100 --name goes-on -- sleep 600
rows=$(ps_of)
lie job "$theirs"
[ "$(ps_of)" = "$rows" ] || fail "$(ps_of), and it was $rows"
has "host 'evil' tells of job $theirs, which is another host's" "$work/err"
expect 101 gpurun snap get goes-on -o "$work/out-here/got"
has "and told of job $theirs" "$work/err"
expect 102 gpurun -q run --host evil --max-cost 100 --name lied-of -- sleep 600
has "and told of job $theirs" "$work/err"
expect 103 gpurun -q run --array 1-2 --host evil --max-cost 100 --name lied-too -- sleep 600
has "and told of job $theirs" "$work/out"
honest
expect 143 gpurun -q stop goes-on
expect 143 gpurun -q stop lied-of
expect 143 gpurun -q stop lied-too-1
expect 143 gpurun -q stop lied-too-2

note "a byte turned in what is fetched: refused wherever it is, or of no weight; what comes is the copy here"
expect 0 gpurun -q --host evil --max-cost 1 --name tree job.sh
expect 0 gpurun -q snap get tree -o "$work/honest"
refused=0 other=0
for at in 0 4 $(seq 8 6 400) $(seq 500 9001 120000) $(seq 300000 200 303000) 9999999; do
    lie flip $at
    # A frame that seems longer than it is never ends, as with a host that falls silent.
    run as_client timeout 2 "$BUILD/bin/gpurun" snap get tree -o "$work/out-here/got"
    case $rc in
    101)
        refused=$((refused + 1))
        [ -z "$(ls -A "$work/out-here")" ] || fail "byte $at: something is left: $(find "$work/out-here")"
        ;;
    124) # killed, perhaps just when it wrote what came from the copy here
        refused=$((refused + 1))
        [ ! -e "$work/out-here/got" ] || diff -r "$work/honest" "$work/out-here/got" || fail "byte $at: not what was fetched before"
        rm -rf "$work/out-here"
        mkdir "$work/out-here"
        ;;
    0)
        diff -r "$work/honest" "$work/out-here/got" || fail "byte $at: not what was fetched before"
        ! grep -q 'going on with the copy on local' "$work/err" || other=$((other + 1))
        ;;
    *) fail "byte $at: status $rc" ;;
    esac
    rm -rf "$work/out-here/got"
done
# The rest hit what is of no weight, or came after the last byte.
[ $((refused + other)) -ge 50 ] || fail "only $refused and $other turned bytes were refused"
honest

note "names that lead elsewhere: the tree is refused, or the liar cannot even make it"
n=0 refused=0
for name in .. . / ../planted "$work/planted" a/../../planted ./x a//b a/; do
    for make in 'echo x >EVIL' 'mkdir EVIL; echo x >EVIL/planted'; do
        n=$((n + 1))
        lie "name $name"
        expect 0 gpurun -q --host evil --max-cost 1 --name "name-$n" -- sh -c "$make; echo y >zz"
        run gpurun -q snap get "name-$n" -o "$work/out-here/got"
        case $rc in
        101)
            has "not a tree: a path is wrong" "$work/err"
            refused=$((refused + 1))
            ;;
        100) has "has no snapshot" "$work/err" ;;
        *) fail "'$name', $make: status $rc" ;;
        esac
        [ -z "$(find "$work" -path "$work/evil-home" -prune -o -name planted -print)" ] || fail "'$name' led out"
        [ -z "$(ls -A "$work/out-here")" ] || fail "'$name': something is left: $(find "$work/out-here")"
    done
done
[ $refused -ge 4 ] || fail "only $refused trees got as far as this side"

note "no devices, and nothing that runs as its owner"
for type in char block setuid; do
    lie type $type
    expect 0 gpurun -q --host evil --max-cost 1 --name "type-$type" -- sh -c "echo x >EVIL; echo y >zz"
    expect 0 gpurun -q snap get "type-$type" -o "$work/out-here/got"
    [ "$(cat "$work/out-here/got/zz")" = y ] || fail "$type: the rest did not come"
    [ -z "$(find "$work/out-here" -perm /06000 -o ! -type f ! -type d)" ] || fail "$type: $(ls -l "$work/out-here/got")"
    rm -rf "$work/out-here/got"
done

note "and the hosts that fell silent were given up"
for as in "silent get 101 quiet" "mute run 101 local" "mute array 101 local"; do
    read -r name what code host <<<"$as"
    await 120 "the end of $as" test -s "$work/$name.$what.rc"
    [ "$(cat "$work/$name.$what.rc")" = "$code" ] || fail "$as: $(cat "$work/$name.$what.rc")"
    has "host '$host' fell silent in the middle of a transfer" "$work/$name.$what.err"
    has "gpurun host doctor $host" "$work/$name.$what.err"
done
hasnt 'still to come' "$work/mute.array.out"
[ ! -e "$work/few.got" ] || fail "something is left of what came: $(find "$work/few.got")"

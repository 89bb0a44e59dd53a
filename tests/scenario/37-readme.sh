#!/bin/bash
# The session of the README, command by command, on two hosts of its kind: each does what is
# shown. README.zh-CN.md shows the same one. RECORD=FILE writes down what was really
# said, as slowly as somebody works who looks at a training now and then (ten minutes);
# LOCALE=zh_CN.UTF-8 in that language (then nothing said is checked).
# limit: 400
# repeats
. "$(dirname "$0")/lib.sh"

session() { # README: the commands of its session, one a line
    sed -n '/<!-- session -->/,/<!-- end -->/s/^\$ //p' "$1"
}
export PATH=/usr/bin:/bin:/usr/sbin:/sbin
session "$TOP/README.md" >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 12 ] || fail "README.md shows no session"
# Remarks behind '#' are in the language of the page.
for f in README.md README.zh-CN.md; do
    session "$TOP/$f" | sed 's/ *# .*//' >"$work/$f.commands"
done
diff "$work/README.md.commands" "$work/README.zh-CN.md.commands" || fail "the sessions differ"

host() { # NAME YUAN: a host with that price for a core and hour, known to ssh by its name
    sshd "$1"
    authorize "$1"
    know "$1"
    echo 'export OPENBLAS_NUM_THREADS=1' >"$work/$1/home/.profile" # threads wait for each other on a busy machine
    env -i PATH="$PATH" HOME="$work/$1/home" "$BUILD/bin/gpurun-agent" price set "cpu=$2" disk=0.0066 >/dev/null
    printf 'Host %s\n  HostName 127.0.0.1\n  Port %s\n' "$1" "${port[$1]}" >>"$client/.ssh/config"
    chmod 600 "$client/.ssh/config"
}
if [ -n "${LOCALE:-}" ]; then
    as_client() { env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LANG="$LOCALE" TZ=UTC "$@"; }
    has() { :; }
fi
client_key
host lab 36
host farm 18

cp -r "$TOP/examples/digits" "$work/digits"
cd "$work/digits"
record=${RECORD:-/dev/null}
: >"$record"
now_epoch() { gpurun -q logs -n 1 night 2>/dev/null | sed -n 's/^epoch *\([0-9]*\) .*/\1/p'; }
learnt() { [ "$(now_epoch </dev/null)" -ge "$1" ]; } # EPOCHS, by night
epochs=${RECORD:+40} # that night is to have learnt before the next look at it
epochs=${epochs:-1}
while read -r line <&3; do
    command=${line%% \#*}
    case $command in
    *resume*) # not for so long, but there is something left to learn
        [ -n "${RECORD:-}" ] || command=${command/--epochs 380/--epochs $(($(now_epoch) + 3))}
        ;;
    *"gpurun logs"* | *"gpurun cp night"* | *"gpurun snap take"*)
        await 400 "$epochs epochs" learnt $epochs
        [ -z "${RECORD:-}" ] || epochs=$((epochs + 40))
        ;;
    esac
    note "$command"
    echo "\$ $line" >>"$record"
    status=0
    eval "$command" >"$work/said" 2>&1 </dev/null || status=$?
    sed "s|$work|/tmp|g" "$work/said" >>"$record"
    case $command in
    *stop*) want=143 ;; # the job's own: SIGTERM ended it
    *) want=0 ;;
    esac
    [ $status = $want ] || { cat "$work/said"; fail "exit status $status: $command"; }
    case $command in
    *"gpurun ps") has night "$work/said"; has ¥ "$work/said" ;;
    *"gpurun logs"*) has "test accuracy" "$work/said" ;;
    *"gpurun exec"*) has digits.ckpt "$work/said" ;;
    *extend*) has "cap now ¥12.00" "$work/said" ;;
    *stop*) has "data: snapshot" "$work/said" ;;
    *resume*) has "going on after epoch" "$work/said" ;;
    *"snap diff"*) has digits.ckpt "$work/said" ;;
    *"gpurun bill") has "total ¥" "$work/said" ;;
    *--verify*) has right "$work/said" ;;
    esac
done 3<"$work/commands"
cmp -s now.ckpt best.ckpt && fail "both checkpoints are the same" || true
[ -s now.ckpt ] && [ -s best.ckpt ] || fail "no checkpoints were brought here"
[ -z "${RECORD:-}" ] || [ $SECONDS -ge 600 ] || fail "recorded in $SECONDS s"

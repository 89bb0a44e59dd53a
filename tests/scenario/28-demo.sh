#!/bin/bash
# limit: 400
# repeats
# `make demo` does all it says, and leaves nothing behind: at its end, and where it is broken off.
. "$(dirname "$0")/lib.sh"

mkdir "$work/tmp" "$work/yours"
demo() { exec env -i PATH="$PATH" HOME="$work/yours" TMPDIR="$work/tmp" BUILD="$BUILD" "$TOP/examples/demo"; }
nothing_left() {
    [ -z "$(ls -A "$work/tmp")" ] || fail "left: $(ls -A "$work/tmp")"
    [ -z "$(leftovers)" ] || fail "left over: $(leftovers)"
    [ -z "$(ls -A "$work/yours")" ] || fail "the user's home was written to: $(ls -A "$work/yours")"
}

note "from its begin to its end"
expect 0 demo
for line in 'is killed (SIGKILL)' 'is back' 'job unaffected' 'byte for byte' 'test accuracy 0.9' 'going on after epoch' \
    "signed by the pinned key of host 'south'" 'refused (exit status 101)' 'Your turn'; do
    has "$line"
done
! grep -q $'\x1b' "$work/out" || fail "control characters, and no terminal"
nothing_left

note "broken off while a job runs"
spawn demo demo
await 60 "the job" grep -q '^epoch   1 ' "$work/demo.log"
kill -TERM "${pid[demo]}"
rc=0
wait "${pid[demo]}" || rc=$?
[ "$rc" = 130 ] || fail "status $rc: $(tail -n 5 "$work/demo.log")"
unset "pid[demo]"
nothing_left

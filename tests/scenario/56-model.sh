#!/bin/bash
# A store under several processes that do anything at any time and are killed, beside a model
# that knows what must be true. Two minutes, beside other tests and behind them; twelve seconds with a
# sanitizer. tests/soak.d/model-store.sh goes on for an hour.
# needs: pipe
# limit: 300
# repeats
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$RANDOM}
note "seed $seed"
# In memory: nothing here is about what a power cut leaves.
store=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$work")/gpurun-model.XXXXXX")
[ "$(basename "$BUILD")" = dev ] && seconds=120 || seconds=12
run nice -n 15 "$(tool model_store)" "$store/s" "${SECONDS_TO_RUN:-$seconds}" 4 "$seed"
status=$rc
rm -rf "$store"
cat "$work/out"
[ $status = 0 ] || fail "seed $seed"
has 'snapshots kept'
# It did something: a model of nothing is always right.
for op in make copy verify drop regain expire gc; do
    grep -qE "(^| )$op [1-9]" "$work/out" || fail "no $op"
done
grep -qE '^[1-9][0-9]* killed' "$work/out" || fail "nobody was killed"

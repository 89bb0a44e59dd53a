#!/bin/bash
# A store under several processes that do anything at any time and are killed, beside a model
# that knows what must be true. Two minutes (again, where it came to do too little), beside other tests and behind them; twelve seconds with a
# sanitizer. tests/soak.d/model-store.sh goes on for an hour.
# needs: pipe
# threads
# limit: 600
# repeats
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$RANDOM}
[ "$(basename "$BUILD")" = dev ] && seconds=120 || seconds=12

# model SEED: some seconds of it; what it did is added to $work/did.
model() {
    local store
    note "seed $1"
    # In memory: nothing here is about what a power cut leaves.
    store=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$work")/gpurun-model.XXXXXX")
    run nice -n 15 "$(tool model_store)" "$store/s" "${SECONDS_TO_RUN:-$seconds}" 4 "$1"
    rm -rf "$store"
    cat "$work/out"
    [ $rc = 0 ] || fail "seed $1"
    has 'snapshots kept'
    cat "$work/out" >>"$work/did"
}

# It did something: a model of nothing is always right.
lacks() {
    local op
    for op in make copy verify drop regain expire gc; do
        grep -qE "(^| )$op [1-9]" "$work/did" || { echo "no $op"; return; }
    done
    grep -qE '^[1-9][0-9]* killed' "$work/did" || echo "nobody was killed"
}

model "$seed"
for more in 1 2 3; do # where there is little of the processor for it
    [ -z "$(lacks)" ] || model $((seed + more))
done
[ -z "$(lacks)" ] || fail "$(lacks)"

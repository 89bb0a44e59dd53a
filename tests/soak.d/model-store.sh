#!/bin/bash
# An hour of the model beside the store (tests/tools/model_store.c), in pieces with a seed each,
# in memory and on the disk in turn.
# limit: 5400
. "$(dirname "$0")/../scenario/lib.sh"

end=$((SECONDS + ${MODEL_S:-3600}))
n=0
while [ $SECONDS -lt $end ]; do
    seed=$RANDOM$RANDOM
    place=$work
    [ $((n % 2)) = 0 ] && [ -w /dev/shm ] && place=/dev/shm
    store=$(mktemp -d "$place/gpurun-model.XXXXXX")
    run "$(tool model_store)" "$store/s" 300 6 "$seed"
    status=$rc
    note "seed $seed in $place: $(tr '\n' ' ' <"$work/out")"
    [ $status = 0 ] || fail "seed $seed"
    rm -rf "$store"
    n=$((n + 1))
done

#!/bin/bash
# Every accident there is at every call that changes or reads the store's files (not a sample), and
# 10,200 bits flipped in packs, the index and manifests, judged by restoring what was kept.
# limit: 14400
. "$(dirname "$0")/../scenario/lib.sh"

note "every kill, torn write, power cut, short write and read, EIO, ENOSPC and EDQUOT, at every call"
for t in test_crash test_crash_care; do
    expect 0 env GPURUN_CRASH=all "$BUILD/tests/unit/storage/$t"
    cat "$work/out"
    [ "$(cat "$work/out" "$work/err" | grep -cE ' [1-9][0-9]* accidents')" = 4 ] || fail "it tried nothing"
done
note "bits flipped, and all trees restored: 3,400 in packs, in the index and in manifests each"
expect 0 env GPURUN_FLIPS=3400 "$BUILD/tests/unit/storage/test_flips"
grep -h 'bits flipped' "$work/out" "$work/err"

#!/bin/bash
# Every accident there is at every call that changes or reads the store's files (not a sample), and
# 10,000 bytes flipped in packs, the index and manifests.
# limit: 7200
. "$(dirname "$0")/../scenario/lib.sh"

note "every kill, torn write, power cut, short write and read, EIO, ENOSPC and EDQUOT, at every call"
expect 0 env GPURUN_CRASH=all "$BUILD/tests/unit/storage/test_crash"
cat "$work/out"
grep accidents "$work/out" "$work/err" || fail "it tried nothing"
note "bytes flipped: 3,400 in packs, in the index and in manifests each"
expect 0 env GPURUN_FLIPS=3400 "$BUILD/tests/unit/storage/test_fsck"
grep -h PASSED "$work/out" "$work/err"

#!/bin/bash
# The power cut before every single write and sync of an entry of a ledger, and before every call of a
# session and its book that changes a file (EXT4_IOC_SHUTDOWN); and these by a kill, a torn write and a
# simulated power cut.
# limit: 1800
GPURUN_CRASH=all "$BUILD/tests/unit/book/test_desk_crash" || exit 1
POWER_STEP=${POWER_STEP:-1} exec bash "$(dirname "$0")/../scenario/59-power-money.sh"

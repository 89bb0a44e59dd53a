#!/bin/bash
# The power cut before every single write and sync of an entry of a ledger (EXT4_IOC_SHUTDOWN).
# limit: 1800
POWER_STEP=${POWER_STEP:-1} exec bash "$(dirname "$0")/../scenario/59-power-money.sh"

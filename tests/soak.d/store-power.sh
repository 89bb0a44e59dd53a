#!/bin/bash
# The power cut before every single call that changes the store's files (EXT4_IOC_SHUTDOWN).
# limit: 7200
POWER_STEP=${POWER_STEP:-1} exec bash "$(dirname "$0")/../scenario/59-power-points.sh"

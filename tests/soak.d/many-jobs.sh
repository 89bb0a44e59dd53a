#!/bin/bash
# 1,000 jobs in a row leave nothing behind.
# limit: 3600
export COUNT=1000
. "$(dirname "$0")/../scenario/69-many.sh"

#!/bin/bash
# Every exit status on every transport.
# limit: 1800
EVERY=1 exec bash "$(dirname "$0")/../scenario/22-exit-codes.sh"

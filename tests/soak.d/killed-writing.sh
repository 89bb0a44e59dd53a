#!/bin/bash
# The renter, the host, the owner and the book killed at every write to what money hangs on.
# limit: 7200
STEP=1 exec bash "$(dirname "$0")/../scenario/72-killed-writing.sh"

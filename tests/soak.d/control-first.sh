#!/bin/bash
# A gigabyte goes up; what is asked beside it is answered.
# limit: 1800
FAST_BYTES=1000000000 SLOWEST=max_ms exec bash "$(dirname "$0")/../scenario/85-control-first.sh"

#!/bin/bash
# A gigabyte of output through each transport.
# limit: 3600
BIG_BYTES=1073741824 exec bash "$(dirname "$0")/../scenario/21-output.sh"

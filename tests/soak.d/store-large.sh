#!/bin/bash
# Figures of a large store: an index of ten million chunks, a tree of a million files end to
# end, on a host as well, and a folder of a million names.
# limit: 10800
CHUNKS=${CHUNKS:-10000000} TINY_PERCENT=${TINY_PERCENT:-500} NAMES=${NAMES:-1000000} MEM_KIB=${MEM_KIB:-400000} \
    exec bash "$(dirname "$0")/../scenario/50-large.sh"

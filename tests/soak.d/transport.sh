#!/bin/bash
# A gigabyte each way through libssh and through the ssh binary.
# limit: 1800
SSH_BYTES=1000000000 exec bash "$(dirname "$0")/../scenario/10-transport.sh"

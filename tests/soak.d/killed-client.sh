#!/bin/bash
# The client killed at forty moments of its life, through each transport.
# limit: 3600
KILLS=40 exec bash "$(dirname "$0")/../scenario/81-killed-client.sh"

#!/bin/bash
# Jobs of three renters on each day of a month, by clocks that are set on.
# limit: 3600
DAYS=30 exec bash "$(dirname "$0")/../scenario/73-month.sh"

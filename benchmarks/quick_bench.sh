#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A first impression in half a minute: hornbeam alone, one second of each load. Sets up what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
make -s build
exec .venv/bin/python benchmarks/compare_servers.py wsgi --quick --servers hornbeam "$@"

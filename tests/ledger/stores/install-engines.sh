#!/usr/bin/env bash
# Brings the servers of tests/ledger/stores, by version, below .cache/stores: about 900 MB and some minutes. Needs npm, Python 3 with venv, Go.
set -euo pipefail
cd "$(dirname "$0")/../../.."
mkdir -p .cache/stores && cd .cache/stores
[ -e azurite/node_modules/azurite ] || npm install --prefix azurite --ignore-scripts --no-audit --no-fund azurite@3.37.0
[ -e moto/ready ] || { python3 -m venv moto && moto/bin/pip install --quiet 'moto[s3,server]==5.2.5' && touch moto/ready; }
[ -x fake-gcs-server ] || GOBIN="$PWD" go install github.com/fsouza/fake-gcs-server@v1.56.1

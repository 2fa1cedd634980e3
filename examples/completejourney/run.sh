#!/usr/bin/env bash
# Replays a grocer's year through a fresh Banyan and compares the totals. Exit code 0: everything equal.
#
#   BANYAN=/path/to/banyan ./run.sh      without BANYAN: `cargo run --release`
#   KEEP=1 ./run.sh                      keeps the temporary folder and prints where it is
#
# Listens on 127.0.0.1 only, on a free port. Needs python3 (3.11 or later), curl, and PyPI for two packages.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/completejourney.XXXXXX")
server=""

if [[ -n "${BANYAN:-}" ]]; then
    banyan=("$BANYAN")
else
    banyan=(cargo run --release --quiet --manifest-path "$here/../../Cargo.toml" --)
fi

step() { printf '\n== %s\n' "$*"; }

# Ends the server by its own process id, and waits until it is gone.
stop() {
    if [[ -n "$server" ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=""
    fi
}

finish() {
    local code=$?
    stop
    if [[ $code -ne 0 && -f "$work/server.log" ]]; then
        printf '\nFAILED (exit code %s). The end of the server log:\n' "$code" >&2
        tail -n 20 "$work/server.log" >&2
    fi
    if [[ -n "${KEEP:-}" ]]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT

# Waits until `GET /readyz` says yes; fails at once if the server has ended, and after two minutes in any case.
ready() {
    local deadline=$((SECONDS + 120))
    until curl --silent --fail --output /dev/null "$url/readyz"; do
        kill -0 "$server" 2>/dev/null || { echo "the server ended before it was ready" >&2; return 1; }
        ((SECONDS < deadline)) || { echo "the server was not ready within 120 seconds" >&2; return 1; }
        sleep 0.1
    done
}

step "Python packages, in a virtual environment of their own"
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
export PYTHONDONTWRITEBYTECODE=1
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements.txt"

step "the data as Banyan's campaigns, allow-lists and trace"
"$python" "$here/prepare.py" --out "$work/in"

step "a fresh server"
"${banyan[@]}" --version # builds first, so that building is not part of the wait below
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url="http://127.0.0.1:$port"
"${banyan[@]}" up --no-sample --data "$work/data" --listen "127.0.0.1:$port" >"$work/server.log" 2>&1 &
server=$!
ready
reach=(--url "$url" --key-file "$work/data/operator.key") # `banyan up` generates the key

step "27 campaigns with their allow-lists"
"${banyan[@]}" campaign apply "$work/in/campaigns.toml" "${reach[@]}"

step "the year"
"${banyan[@]}" rehearse "$work/in/scenario.toml" "${reach[@]}" --acks "$work/acks.jsonl"

step "every acknowledged answer is in the log"
"${banyan[@]}" verify --data "$work/data" --acks "$work/acks.jsonl"

step "the record store has seen everything"
"$python" "$here/await_view.py" "${reach[@]}" --acks "$work/acks.jsonl"

step "the data and the record store, counted separately"
"$python" "$here/compare.py" --source package --record "$work/data/record.sqlite"

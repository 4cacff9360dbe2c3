# shellcheck shell=bash
# The PyPI package autobahntestsuite as the peer. Sourced by autobahn.sh, which owns the variables.
#
# It is written for Python 2.7, the last of which has no venv: virtualenv stands in, in the last
# version that makes one for 2.7.

suite=autobahntestsuite
version=25.10.1
virtualenv_version=20.15.1
home=.cache/autobahntestsuite
wstest=$home/venv/bin/wstest
client_options=()

# Prints a Python 2.7 that has pip and starts: a pyenv shim is there and may not.
interpreter() {
    local python
    for python in ${PYTHON2:+"$PYTHON2"} python2.7 python2 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python; do
        if "$python" -c 'import sys, pip; assert sys.version_info[:2] == (2, 7)' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

install_suite() {
    if [ "$("$home/venv/bin/pip" show "$suite" 2>/dev/null | sed -n 's/^Version: //p')" = "$version" ]; then return; fi
    local python
    if ! python=$(interpreter); then
        echo "SKIPPED: $suite needs Python 2.7 with pip, and none was found; PYTHON2 names one"
        exit 0
    fi
    rm -rf "$home"
    if ! {
        "$python" -m pip install --quiet --target "$home/virtualenv" "virtualenv==$virtualenv_version" &&
            PYTHONPATH=$home/virtualenv "$python" -m virtualenv --quiet "$home/venv" &&
            "$home/venv/bin/pip" install --quiet "$suite==$version"
    } 2>&1 | { grep -v '^DEPRECATION: ' || true; }; then
        echo "SKIPPED: $suite==$version could not be installed from PyPI"
        exit 0
    fi
}

# Writes the specification of a run that reports in the folder $1, and prints its path.
specify() {
    python3 - "$PWD/$1" "ws://127.0.0.1:$server_port" "${without[@]}" >"$1.spec.json" <<'PY'
import json
import sys

outdir, url, *without = sys.argv[1:]
json.dump(
    {
        "outdir": outdir,
        "url": url,  # as the server
        "servers": [{"agent": "hybi", "url": url}],  # as the client
        "cases": ["*"],
        "exclude-cases": without,
        "exclude-agent-cases": {},
    },
    sys.stdout,
)
PY
    echo "$1.spec.json"
}

# Runs the cases against server_port, and reports in the folder $1.
run_client() {
    "${guard[@]}" "$wstest" -m fuzzingclient -s "$(specify "$1")"
}

# Listens on server_port with the folder $1 for its report and the file $2 for its output.
start_suite() {
    start_on_port "$2" "${guard[@]}" "$wstest" -m fuzzingserver -u 0 -s "$(specify "$1")"
}

# /updateReports is answered when the report is written, and then it goes on listening.
end_suite() { :; }

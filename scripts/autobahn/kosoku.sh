# shellcheck shell=bash
# The PyPI package kosoku as the peer. Sourced by autobahn.sh, which owns the variables.

suite=kosoku
version=0.1.0
venv=.cache/kosoku
kosoku=$venv/bin/kosoku
# RFC 7692 §7.1.1.2: a server may ask any client to go without its context. kosoku asks only those
# who have offered it, and calls 13.2, 13.5 and 13.6 UNIMPLEMENTED with others.
client_options=()
if [ "$cases" = full ]; then client_options=(client_no_context_takeover); fi

install_suite() {
    if [ "$("$venv/bin/pip" show kosoku 2>/dev/null | sed -n 's/^Version: //p')" = "$version" ]; then return; fi
    rm -rf "$venv"
    if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet "kosoku==$version"; then
        echo "SKIPPED: kosoku==$version could not be installed from PyPI"
        exit 0
    fi
}

# The options that leave out what is left out; the list is the same on both sides.
left_out() {
    local pattern
    for pattern in "${without[@]}"; do printf -- '-x\n%s\n' "$pattern"; done
}

# Runs the cases against server_port, and reports in the folder $1.
run_client() {
    local options
    mapfile -t options < <(left_out)
    "${guard[@]}" "$kosoku" -m fuzzingclient "127.0.0.1:$server_port/x" -o "$1" "${options[@]}"
}

# Listens on server_port with the folder $1 for its report and the file $2 for its output.
start_suite() {
    local options
    mapfile -t options < <(left_out)
    start_on_port "$2" "${guard[@]}" "$kosoku" -m fuzzingserver "127.0.0.1:$server_port" -o "$1" "${options[@]}"
}

# /updateReports makes it write its report and end.
end_suite() {
    timeout 10 tail --pid="$server_pid" -f /dev/null || echo "kosoku did not end: the client did not ask for /updateReports"
}

#!/usr/bin/env bash
# hybi behind nginx and haproxy, and over HTTP/2 with haproxy and hypercorn.
#
#   scripts/proxies.sh                part of scripts/interop.sh, or alone
#
# Lines go from `hybi connect` through each way to an echo and must come back, short ones and one
# of 100,000 bytes, and the close must be clean. The echo is `hybi serve`, the example hyper_server
# (HTTP/2) or hypercorn. Then the cases of scripts/interop/lines.py go through nginx and haproxy from
# Node's ws and from a page in Chromium to hybi, and from hybi to ws; and Chromium uses the page of
# `hybi serve`, straight, with TLS, through nginx and, over HTTP/2, through haproxy.
#
# nginx, haproxy and Chromium are Debian's packages, which root installs if they are missing;
# hypercorn and the peers are installed as for scripts/interop.sh. The logs are in .cache/proxies.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh
source scripts/interop/peers.sh

folder=$PWD/.cache/proxies
mkdir -p "$folder" "$peers_folder/logs"
rm -f "$folder"/*.log "$folder"/hybi.sock
# A try takes less than a second; this only ends one that hangs.
guard=(timeout --kill-after=10 120)

if ! { install_debian nginx && install_debian haproxy && install_python hypercorn; }; then exit; fi
nginx -v
haproxy -v | sed -n 1p
peers=()
for peer in ws chromium; do if install_peer "$peer"; then peers+=("$peer"); fi; done
if [ ! -s "$folder/both.pem" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=localhost" \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -addext "basicConstraints=critical,CA:FALSE" \
        -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>"$folder/openssl.log"
    cat "$folder/cert.pem" "$folder/key.pem" >"$folder/both.pem"
fi

build_server
build_hybi_interop
cargo build --release --quiet -p hybi --example hyper_server --example client_ip
examples=${CARGO_TARGET_DIR:-target}/release/examples

# Starts the command that follows the name and the file for its output on a port of its own, which
# takes the place of @NAME@ in the configurations.
places=(-e "s|@FOLDER@|$folder|g" -e "s|@USER@|$(id -un)|g")
declare -A port=()
pick() {
    local name
    for name in "$@"; do
        # A port is free until its server listens there, and so for several names.
        local chosen
        while chosen=$(free_port) && [[ " ${port[*]} ${TAKEN_PORTS:-} " == *" $chosen "* ]]; do :; done
        port[$name]=$chosen
        places+=(-e "s|@$name@|${port[$name]}|g")
    done
}
start() {
    local name=$1
    shift
    server_port=${port[$name]}
    start_on_port "$folder/$name.log" "$@"
}
pick HYBI HYBI_TLS CLIENT_IP HYPER NGINX NGINX_TLS HAPROXY HAPROXY_H2 HAPROXY_TLS HAPROXY_TO_H2 HAPROXY_H2_TO_H2 HYPERCORN HYPERCORN_TLS \
    HYBI_OWN PEER_HYBI PEER_WS NGINX_TO_HYBI NGINX_TO_WS HAPROXY_TO_HYBI HAPROXY_TO_WS
for file in nginx.conf haproxy.cfg; do sed "${places[@]}" "scripts/proxies/$file" >"$folder/$file"; done

start HYBI "$HYBI_BIN" serve --port "${port[HYBI]}" --deflate
start HYBI_OWN "$HYBI_BIN" serve --port "${port[HYBI_OWN]}" --deflate --origin "http://127.0.0.1:${port[HYBI_OWN]}"
start HYBI_TLS "$HYBI_BIN" serve --port "${port[HYBI_TLS]}" --deflate --tls-cert "$folder/cert.pem" --tls-key "$folder/key.pem"
"$HYBI_BIN" serve --unix "$folder/hybi.sock" >"$folder/HYBI_UNIX.log" 2>&1 </dev/null &
started+=("$!")
start CLIENT_IP "$examples/client_ip" "127.0.0.1:${port[CLIENT_IP]}"
start HYPER "$examples/hyper_server" "127.0.0.1:${port[HYPER]}"
start NGINX nginx -p "$folder" -c "$folder/nginx.conf"
start HAPROXY haproxy -f "$folder/haproxy.cfg"
# hypercorn 0.18.0 never ends a stream whose WebSocket the client has closed (RFC 8441 §5): it closes
# the connection when that was idle for so long, and hybi waits for it.
hypercorn=("$peers_folder/python/bin/hypercorn" --keep-alive 1 --bind)
start HYPERCORN env PYTHONPATH=scripts/proxies "${hypercorn[@]}" "127.0.0.1:${port[HYPERCORN]}" app:app
start HYPERCORN_TLS env PYTHONPATH=scripts/proxies "${hypercorn[@]}" "127.0.0.1:${port[HYPERCORN_TLS]}" \
    --certfile "$folder/cert.pem" --keyfile "$folder/key.pem" app:app

lines=$folder/lines
{
    echo "one"
    echo
    echo "zwölf Boxkämpfer"
    head -c 100000 /dev/zero | tr '\0' x
    echo
} >"$lines"
tried=0 failed=0
# Sends the file $2 by `hybi connect` with the arguments that follow, and expects the file $3 back.
try() {
    local what=$1 sent=$2 expected=$3 status=0
    shift 3
    tried=$((tried + 1))
    : >"$folder/heard"
    # Not every echo goes on when it has been told to close.
    {
        cat "$sent"
        for _ in {1..200}; do
            if cmp -s "$expected" "$folder/heard"; then break; fi
            sleep 0.1
        done
    } | "${guard[@]}" "$HYBI_BIN" connect "$@" >"$folder/heard" 2>"$folder/said" || status=$?
    if [ "$status" -eq 0 ] && cmp -s "$expected" "$folder/heard"; then
        echo "$what: $(head -n 1 "$folder/said")"
    else
        failed=$((failed + 1))
        echo "FAILED: $what, status $status, $(wc -c <"$folder/heard") bytes: $(tail -n 3 "$folder/said")"
    fi
}
ca=(--cacert "$folder/cert.pem")
echo "your address is 192.0.2.1" >"$folder/address"
try "nginx" "$lines" "$lines" "ws://127.0.0.1:${port[NGINX]}/"
try "nginx, a Unix socket behind it" "$lines" "$lines" "ws://127.0.0.1:${port[NGINX]}/unix"
try "nginx tells the client's address" /dev/null "$folder/address" "ws://127.0.0.1:${port[NGINX]}/ip" --header "X-Forwarded-For: 192.0.2.1"
try "nginx with TLS" "$lines" "$lines" "wss://localhost:${port[NGINX_TLS]}/" "${ca[@]}"
try "nginx with TLS on both sides" "$lines" "$lines" "wss://localhost:${port[NGINX_TLS]}/tls" "${ca[@]}"
try "haproxy" "$lines" "$lines" "ws://127.0.0.1:${port[HAPROXY]}/"
try "haproxy, HTTP/2 to 1" "$lines" "$lines" "ws://127.0.0.1:${port[HAPROXY_H2]}/" --http2
try "haproxy with TLS" "$lines" "$lines" "wss://localhost:${port[HAPROXY_TLS]}/" "${ca[@]}"
try "haproxy with TLS, HTTP/2 to 1" "$lines" "$lines" "wss://localhost:${port[HAPROXY_TLS]}/" "${ca[@]}" --http2
try "haproxy, HTTP/1 to 2" "$lines" "$lines" "ws://127.0.0.1:${port[HAPROXY_TO_H2]}/echo"
try "haproxy, HTTP/2 to 2" "$lines" "$lines" "ws://127.0.0.1:${port[HAPROXY_H2_TO_H2]}/echo" --http2
try "hypercorn" "$lines" "$lines" "ws://127.0.0.1:${port[HYPERCORN]}/"
try "hypercorn, HTTP/2" "$lines" "$lines" "ws://127.0.0.1:${port[HYPERCORN]}/" --http2
try "hypercorn with TLS, HTTP/2" "$lines" "$lines" "wss://localhost:${port[HYPERCORN_TLS]}/" "${ca[@]}" --http2
echo "$tried ways, $failed failed"

# Tries the client $1 with the server $2 through nginx and haproxy.
through() {
    local way
    for way in NGINX HAPROXY; do
        try_peers "$1" "$2" "ws://127.0.0.1:${port[${way}_TO_${2^^}]}" "$folder/PEER_${2^^}.log" "${way,,}" || failed=$((failed + 1))
    done
}
page() {
    "${guard[@]}" node scripts/interop/chromium.js page "$@" || failed=$((failed + 1))
}
serve hybi "${port[PEER_HYBI]}" "$folder/PEER_HYBI.log"
for peer in "${peers[@]}"; do
    through "$peer" hybi
    if [ "$peer" = ws ]; then
        serve ws "${port[PEER_WS]}" "$folder/PEER_WS.log"
        through hybi ws
        continue
    fi
    # HYBI_OWN has a list of origins, client_ip the default.
    page "http://127.0.0.1:${port[HYBI_OWN]}/" http/1.1 "http://localhost:${port[HYBI_OWN]}/" "ws://127.0.0.1:${port[CLIENT_IP]}/"
    page "https://localhost:${port[HYBI_TLS]}/" http/1.1
    page "http://127.0.0.1:${port[NGINX]}/" http/1.1
    page "https://localhost:${port[HAPROXY_TLS]}/" h2
done
[ "$failed" -eq 0 ]

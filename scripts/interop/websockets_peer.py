"""Python's websockets as a peer of scripts/interop.sh.

    websockets_peer.py serve PORT          echoes, each connection with the settings in its query
    websockets_peer.py connect URL <LINES  runs each line of combinations.py, and prints what became of it
"""

import asyncio
import json
import random
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

# Only what hangs is ended by it.
GUARD = 20


def settings(text):
    chosen = {}
    for name, (value,) in parse_qs(text, keep_blank_values=True).items():
        if name.endswith("takeover"):
            chosen[name] = True
        elif name.endswith("bits"):
            chosen[name] = int(value) if value else True
    return chosen


def offer(text):
    if text == "-":
        return ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})
    return ClientPerMessageDeflateFactory(**{"client_max_window_bits": None, **settings(text)})


def choose(connection, request):
    text = urlsplit(request.path).query
    connection.protocol.available_extensions = [ServerPerMessageDeflateFactory(**settings(text))]


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def listen(port):
    async with serve(echo, "127.0.0.1", port, compression=None, process_request=choose) as server:
        await server.serve_forever()


def messages():
    """Below and above every threshold, with what came before in it and without."""

    def text(n):
        return json.dumps({"n": n, "items": [{"id": i * 7919, "name": f"item {i}", "price": i * 3.25} for i in range(20)]})

    noise = random.Random(1).randbytes(100 * 1024)
    long = (text(4) * 100)[: 100 * 1024]
    return ["hybi", text(1), text(2), "", text(3), b"", noise[:1000], long, noise, noise, "é" * 500, text(5)]


async def exchange(url, text):
    factory = offer(text)
    async with connect(url, compression=None, extensions=[factory], proxy=None) as connection:
        agreed = connection.response.headers.get("Sec-WebSocket-Extensions", "nothing")
        for number, message in enumerate(messages()):
            await connection.send(message)
            if await connection.recv() != message:
                raise ValueError(f"message {number} came back as another")
    if connection.close_code != 1000:
        raise ValueError(f"closed with {connection.close_code}")
    return agreed


async def run(url):
    for line in sys.stdin.read().splitlines():
        client, server = line.split(" ")
        try:
            async with asyncio.timeout(GUARD):
                became = await exchange(f"{url}/?{server}", client)
        except Exception as error:  # whatever it is, the judge prints it
            became = f"! {type(error).__name__}: {error}".replace("\n", " ")
        print(f"{line} {became}", flush=True)


_, what, where = sys.argv
asyncio.run(listen(int(where)) if what == "serve" else run(where))

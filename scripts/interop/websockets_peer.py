"""Python's websockets as a peer of scripts/interop.sh.

    websockets_peer.py serve PORT          does as the query of each connection says
    websockets_peer.py connect URL <LINES  runs each line of lines.py, and prints what became of it
"""

from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

import peer


class Connection:
    def __init__(self, connection):
        self.connection = connection
        self.agreed = connection.response.headers.get("Sec-WebSocket-Extensions", "nothing")
        self.protocol = connection.subprotocol

    async def send(self, message):
        await self.connection.send(message)

    async def receive(self):
        try:
            return await self.connection.recv()
        except ConnectionClosed:
            return None

    async def ping(self, payload):
        await (await self.connection.ping(payload))

    async def fragments(self, parts, text):
        await self.connection.send(parts, text=text)

    async def close(self, code, reason):
        await self.connection.close(code, reason)

    def ended(self):
        code, reason = self.connection.close_code, self.connection.close_reason
        return code, reason or "", code != 1006


def settings(text):
    chosen = {}
    for name, value in peer.parse(text).items():
        if name.endswith("takeover"):
            chosen[name] = True
        elif name.endswith("bits"):
            chosen[name] = int(value) if value else True
    return chosen


def offers(text):
    if text == "off":
        # An empty list would become an empty header, which is malformed (RFC 6455 §9.1).
        return None
    if text == "-":
        return [ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})]
    return [ClientPerMessageDeflateFactory(**{"client_max_window_bits": None, **settings(text)})]


async def open_connection(url, offer, protocols):
    options = {"compression": None, "proxy": None, "max_size": None, "ping_interval": None}
    return Connection(await connect(url, extensions=offers(offer), subprotocols=protocols or None, **options))


def choose(connection, request):
    text = urlsplit(request.path).query
    factories = [ServerPerMessageDeflateFactory(**settings(text))]
    connection.protocol.available_extensions = None if "off" in peer.parse(text) else factories


async def answer(connection):
    await peer.answer(Connection(connection), urlsplit(connection.request.path).query)


async def listen(port):
    def select(_, offered):
        return peer.PROTOCOL if peer.PROTOCOL in offered else None

    options = {"compression": None, "max_size": None, "ping_interval": None}
    async with serve(answer, "127.0.0.1", port, process_request=choose, select_subprotocol=select, **options) as server:
        await server.serve_forever()


peer.main(open_connection, listen)

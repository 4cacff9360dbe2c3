"""Python's picows as a peer of scripts/interop.sh, by its twin of the API of websockets.

    picows_peer.py serve PORT          does as the query of each connection says
    picows_peer.py connect URL <LINES  runs each line of lines.py, and prints what became of it
"""

from urllib.parse import urlsplit

from picows.websockets.asyncio.client import connect
from picows.websockets.asyncio.server import serve
from picows.websockets.exceptions import ConnectionClosed

import peer

OPTIONS = {"max_size": None, "ping_interval": None}


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
        return int(code), reason or "", code != 1006


async def open_connection(url, offer, protocols):
    compression = None if offer == "off" else "deflate"
    return Connection(await connect(url, compression=compression, subprotocols=protocols or None, proxy=None, **OPTIONS))


def choose(connection, request, response):
    """What is agreed on is what the response says."""
    if "off" in peer.parse(urlsplit(request.path).query):
        response.headers.popall("Sec-WebSocket-Extensions", None)
    return response


async def answer(connection):
    await peer.answer(Connection(connection), urlsplit(connection.request.path).query)


async def listen(port):
    async with serve(answer, "127.0.0.1", port, process_response=choose, subprotocols=[peer.PROTOCOL], **OPTIONS) as server:
        await server.serve_forever()


peer.main(open_connection, listen)

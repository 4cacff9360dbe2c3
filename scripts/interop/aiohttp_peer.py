"""Python's aiohttp as a peer of scripts/interop.sh.

    aiohttp_peer.py serve PORT          does as the query of each connection says
    aiohttp_peer.py connect URL <LINES  runs each line of lines.py, and prints what became of it
"""

import asyncio
from urllib.parse import urlsplit

from aiohttp import ClientSession, WSMsgType, web

import peer



def options(query, side):
    """It answers pings by itself, unless pongs are for this side to see."""
    pings = peer.parse(query).get("do") == "ping"
    return {"autoping": pings == (side == "client"), "max_msg_size": 0}


class Connection:
    def __init__(self, socket, headers, protocol, session=None):
        self.socket = socket
        self.agreed = headers.get("Sec-WebSocket-Extensions", "nothing")
        self.protocol = protocol
        self.session = session
        self.reason = ""

    async def send(self, message):
        await (self.socket.send_str if isinstance(message, str) else self.socket.send_bytes)(message)

    async def receive(self, wanted=(WSMsgType.TEXT, WSMsgType.BINARY)):
        message = await self.socket.receive()
        if message.type in wanted:
            return message.data
        if message.type == WSMsgType.CLOSE:
            self.reason = message.extra or ""
        if self.session:
            await self.session.close()
        return None

    async def ping(self, payload):
        await self.socket.ping(payload)
        if (came := await self.receive((WSMsgType.PONG,))) != payload:
            raise ValueError(f"the pong was {came}")

    async def close(self, code, reason):
        await self.socket.close(code=code, message=reason.encode())
        if self.session:
            await self.session.close()

    def ended(self):
        """It keeps no reason of the answer to a close of its own."""
        code = self.socket.close_code
        # An empty close frame is 0.
        return code or 1005, self.reason, code != 1006


async def open_connection(url, offer, protocols):
    chosen = peer.parse(offer)
    bits = 0 if "off" in chosen else int(chosen.get("server_max_window_bits", 15))
    session = ClientSession()
    socket = await session.ws_connect(url, protocols=protocols, compress=bits, **options(urlsplit(url).query, "client"))
    return Connection(socket, socket._response.headers, socket.protocol, session)


async def answer(request):
    query = request.query_string
    off = "off" in peer.parse(query)
    socket = web.WebSocketResponse(protocols=[peer.PROTOCOL], compress=not off, **options(query, "server"))
    await socket.prepare(request)
    await peer.answer(Connection(socket, socket.headers, socket.ws_protocol), query)
    return socket


async def listen(port):
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


peer.main(open_connection, listen)

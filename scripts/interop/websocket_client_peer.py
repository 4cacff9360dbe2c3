"""Python's websocket-client as a peer of scripts/interop.sh. It blocks, and compresses nothing.

    websocket_client_peer.py connect URL <LINES  runs each line of lines.py, and prints what became of it
"""

import struct

import websocket
from websocket import ABNF

import peer


class Connection:
    agreed = "nothing"

    def __init__(self, socket):
        self.socket = socket
        self.agreed = socket.getheaders().get("sec-websocket-extensions", "nothing")
        self.protocol = socket.getsubprotocol()
        self.end = None

    async def send(self, message):
        self.socket.send(message, ABNF.OPCODE_TEXT if isinstance(message, str) else ABNF.OPCODE_BINARY)

    async def receive(self, wanted=(ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY)):
        while True:
            opcode, frame = self.socket.recv_data_frame(control_frame=True)
            if opcode == ABNF.OPCODE_CLOSE:
                self.end = frame
                self.socket.shutdown()
                return None
            if opcode in wanted:
                return frame.data.decode() if opcode == ABNF.OPCODE_TEXT else frame.data

    async def ping(self, payload):
        self.socket.ping(payload)
        if (came := await self.receive((ABNF.OPCODE_PONG,))) != payload:
            raise ValueError(f"the pong was {came}")

    async def fragments(self, parts, text):
        opcode = ABNF.OPCODE_TEXT if text else ABNF.OPCODE_BINARY
        async for part in parts:
            self.socket.send_frame(ABNF.create_frame(part, opcode, fin=0))
            opcode = ABNF.OPCODE_CONT
        self.socket.send_frame(ABNF.create_frame(b"", opcode, fin=1))

    async def close(self, code, reason):
        self.socket.close(code, reason.encode(), timeout=peer.GUARD)
        self.end = self.socket.close_frame

    def ended(self):
        if self.end is None:
            return 1006, "", False
        payload = self.end.data
        return (struct.unpack("!H", payload[:2])[0] if payload else 1005), payload[2:].decode(), True


async def open_connection(url, offer, protocols):
    options = {"timeout": peer.GUARD, "http_no_proxy": ["127.0.0.1"], "suppress_origin": True}
    return Connection(websocket.create_connection(url, subprotocols=protocols or None, **options))


peer.main(open_connection)

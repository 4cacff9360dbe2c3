"""Whether what a server compresses keeps to the window that was agreed (RFC 7692 §7.1.2).

    windows.py PORT

Speaks to the echo of `hybi-interop serve` by hand. For each window from 9 to 15 it offers just
that one, and Python's zlib must inflate what comes with exactly that window. 8 is declined, and
the next offer taken. The exit status is 1 where something differs.
"""

import base64
import os
import random
import socket
import struct
import sys
import zlib

GUARD = 60
TAIL = b"\x00\x00\xff\xff"
# What may be referred to beyond the window goes unnoticed as long as it is still in the buffer of
# the output. So that buffer is small.
PIECE, OUTPUT = 64, 16
OPCODES = {str: 1, bytes: 2}


class Connection:
    """A client without any mercy."""

    def __init__(self, port, query, offer):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=GUARD)
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        )
        status = self.file.readline()
        check(status.startswith(b"HTTP/1.1 101 "), f"{offer}: {status!r}")
        self.agreed = None
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "sec-websocket-extensions":
                self.agreed = value.strip()

    def send(self, message):
        payload = message.encode() if isinstance(message, str) else message
        head = bytes([0x80 | OPCODES[type(message)]])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack("!H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", len(payload))
        # A mask of zeros changes nothing.
        self.socket.sendall(head + bytes(4) + payload)

    def recv(self):
        """The next message: its opcode, whether it is compressed, and its payload."""
        opcode, compressed, payload = None, None, b""
        while True:
            first, second = self.file.read(2)
            check(not second & 0x80, "a frame of the server is masked")
            check(not first & 0x30, "RSV2 or RSV3 is set")
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", self.file.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.file.read(8))
            if opcode is None:
                opcode, compressed = first & 0x0F, bool(first & 0x40)
            else:
                check(not first & 0x4F, "RSV1 or an opcode on a continuation")
            payload += self.file.read(length)
            if first & 0x80:
                return opcode, compressed, payload

    def close(self):
        self.socket.sendall(b"\x88\x80" + bytes(4))
        self.file.close()
        self.socket.close()


class Fault(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Fault(what)


def inflate(inflater, payload):
    data = payload + TAIL
    out = bytearray()
    for start in range(0, len(data), PIECE):
        piece = data[start : start + PIECE]
        while True:
            part = inflater.decompress(piece, OUTPUT)
            out += part
            piece = inflater.unconsumed_tail
            if not piece and len(part) < OUTPUT:
                break
    return bytes(out)


def messages(bits):
    """Repeats at distances around each window, in a message and from one to the next."""
    draw = random.Random(bits)

    def noise(length):
        return "".join(draw.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=length))

    short, row = noise(200), noise(50)
    yield from (short, short)
    for window in range(9, 16):
        for distance in ((1 << window) - 262, (1 << window) - 1, 1 << window, (1 << window) + 1):
            yield row + noise(distance - len(row)) + row
    word = noise(3000)
    yield from ("", "below", word, word, b"", word.encode(), draw.randbytes(70_000), word * 30, word)


def judge_window(port, bits, no_takeover, threshold):
    query = f"server_max_window_bits=15&threshold={threshold}"
    offer = f"permessage-deflate; server_max_window_bits={bits}"
    if no_takeover:
        offer += "; server_no_context_takeover"
    connection = Connection(port, query, offer)
    agreed = (connection.agreed or "").replace(" ", "").split(";")
    check(agreed[0] == "permessage-deflate", f"{offer}: agreed on {connection.agreed}")
    check(f"server_max_window_bits={bits}" in agreed, f"{offer}: agreed on {connection.agreed}")
    check(not no_takeover or "server_no_context_takeover" in agreed, f"{offer}: agreed on {connection.agreed}")
    inflater = zlib.decompressobj(-bits)
    sizes = []
    for number, message in enumerate(messages(bits)):
        connection.send(message)
        opcode, compressed, payload = connection.recv()
        what = f"{offer}; threshold={threshold}: message {number}"
        plain = message.encode() if isinstance(message, str) else message
        check(opcode == OPCODES[type(message)], f"{what} is of another kind")
        check(compressed == (len(plain) >= threshold), f"{what} of {len(plain)} B: compressed is {compressed}")
        sizes.append(len(payload))
        if compressed:
            if no_takeover:
                inflater = zlib.decompressobj(-bits)
            try:
                payload = inflate(inflater, payload)
            except zlib.error as error:
                raise Fault(f"{what}: {error}") from error
        check(payload == plain, f"{what} came back as another")
    # The history is used where it is kept, and only there: 200 B are in every window.
    check((sizes[1] * 4 < sizes[0]) != no_takeover, f"{offer}: twice the same took {sizes[:2]} B")
    connection.close()
    return sum(sizes)


def judge_eight(port):
    for offer, agreed in (
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9", 9),
    ):
        connection = Connection(port, "", offer)
        wanted = agreed and f"permessage-deflate; server_max_window_bits={agreed}"
        check(connection.agreed == wanted, f"{offer}: agreed on {connection.agreed}")
        connection.send("x" * 300)
        _, compressed, payload = connection.recv()
        check(compressed == bool(agreed), f"{offer}: compressed is {compressed}")
        plain = inflate(zlib.decompressobj(-agreed), payload) if agreed else payload
        check(plain == b"x" * 300, f"{offer}: the echo is another")
        connection.close()


def judge_judge():
    """What uses a larger window than it may must be noticed, or nothing here proves anything."""
    for bits in range(9, 15):
        row = "".join(random.Random(1).choices("0123456789abcdef", k=50))
        text = row + "".join(random.Random(2).choices("0123456789abcdef", k=(1 << bits) + 50 - 50)) + row
        for larger in range(bits, 16):
            compressor = zlib.compressobj(wbits=-larger)
            payload = (compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            try:
                noticed = inflate(zlib.decompressobj(-bits), payload) != text.encode()
            except zlib.error:
                noticed = True
            check(noticed == (larger > bits), f"a window of {larger} bits for {bits}: noticed is {noticed}")


def main():
    port = int(sys.argv[1])
    try:
        judge_judge()
        sizes = []
        for bits in range(9, 16):
            for no_takeover in (False, True):
                for threshold in (0, 128):
                    sizes.append(judge_window(port, bits, no_takeover, threshold))
        judge_eight(port)
    except Fault as fault:
        sys.exit(f"  {fault}")
    print(f"{len(sizes)} connections with windows of 9 to 15 bits, {sum(sizes)} B inflated; 8 bits declined")


main()

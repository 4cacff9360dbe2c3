"""Opens idle WebSocket connections and prints what each adds to the RSS of the server.

    idle.py PORT PID handshake|echo|heartbeat

Plain blocking sockets and frames written by hand, so that nothing here depends on the library
that is measured. Linux only: the RSS is read from /proc. Run by idle.sh.
"""

import os
import select
import socket
import sys
import time

FEW = 1_000
MANY = 10_000
LIMIT = 1600  # bytes a connection

REQUEST = (
    "GET / HTTP/1.1\r\n"
    "Host: 127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n"
)
PAYLOAD = bytes(range(256)) * 4
# Binary, final, masked with four zero bytes: the payload stands as it is.
MESSAGE = b"\x82\xfe" + len(PAYLOAD).to_bytes(2, "big") + bytes(4) + PAYLOAD
ECHO = b"\x82\x7e" + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
PING = b"\x89\x00"
PONG = b"\x8a\x80" + bytes(4)


def connect(port, request, with_echo):
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(request)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        if not received:
            sys.exit(f"the server ended the handshake after {head!r}")
        head += received
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"the server answered {head!r}")
    if with_echo:
        connection.sendall(MESSAGE)
        echo = b""
        while len(echo) < len(ECHO):
            received = connection.recv(4096)
            if not received:
                sys.exit("the server ended the connection instead of echoing")
            echo += received
        if echo != ECHO:
            sys.exit(f"the echo differs: {echo[:16]!r}")
    return connection


def rss(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settled_rss(pid, wait):
    """The RSS once it has stood still for half a second, or after ten seconds."""
    last = rss(pid)
    for _ in range(20):
        wait(0.5)
        now = rss(pid)
        if now == last:
            break
        last = now
    return last


class Pongs:
    """Answers the pings of the heartbeat on all connections."""

    def __init__(self):
        self.epoll = select.epoll()
        self.connections = {}
        self.unanswered = set()

    def add(self, connection):
        self.connections[connection.fileno()] = connection
        self.unanswered.add(connection.fileno())
        self.epoll.register(connection, select.EPOLLIN)

    def answer(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for number, _ in self.epoll.poll(left):
                received = self.connections[number].recv(4096)
                pings = len(received) // len(PING)
                if not received or received != PING * pings:
                    sys.exit(f"{received!r} came instead of a ping")
                self.connections[number].sendall(PONG * pings)
                self.unanswered.discard(number)

    def answer_all(self):
        """Waits until every connection had a ping."""
        for _ in range(60):
            if not self.unanswered:
                return
            self.answer(0.5)
        sys.exit(f"{len(self.unanswered)} connections had no ping in 30 s")


def stayed_idle(connections):
    for connection in connections:
        connection.setblocking(False)
        try:
            connection.recv(1)
            sys.exit("a connection that should be idle was written to or ended")
        except BlockingIOError:
            pass


def main():
    port, pid, after = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    request = REQUEST.format(port=port).encode("ascii")
    connections = []
    pongs = Pongs() if after == "heartbeat" else None
    measured = []
    for count in (FEW, MANY):
        while len(connections) < count:
            connections.append(connect(port, request, after == "echo"))
            if pongs:
                pongs.add(connections[-1])
        if pongs:
            pongs.answer_all()
        measured.append(settled_rss(pid, pongs.answer if pongs else time.sleep))
    if not pongs:
        stayed_idle(connections)
    slope = (measured[1] - measured[0]) / (MANY - FEW)
    few, many = (size // 1024 for size in measured)
    print(
        f"after the {after}: {slope:.0f} bytes a connection"
        f" ({few:,} KiB at {FEW:,}, {many:,} KiB at {MANY:,})",
        flush=True,
    )
    if slope >= LIMIT:
        print(f"the limit is {LIMIT} bytes")
        sys.exit(1)


main()

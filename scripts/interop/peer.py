"""What the peers in Python share: what a server does for a client, and the cases of lines.py.

A connection of a library is put behind these names:

    agreed, protocol           the extensions as a header or "nothing", and the subprotocol
    await send(message)        a str or bytes
    await receive()            the next message, or None at the end
    await ping(payload)        until the pong is there
    await fragments(parts, text)    a message whose parts an iterator gives, async, as bytes (if it can)
    await close(code, reason)  and wait for the end
    ended()                    the code, the reason, and whether the end was clean
"""

import asyncio
import json
import random
import sys
from urllib.parse import parse_qs

# Only what hangs is ended by it.
GUARD = 60
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 1 << 20)
MANY = 1000
PROTOCOL = "echo"


def text(length):
    return "é" * (length // 2) + "!" * (length % 2)


def binary(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def parse(query):
    """The values by name, without those of a query that says nothing."""
    return {name: value for name, (value,) in parse_qs(query, keep_blank_values=True).items() if name != "-"}


async def cut(message, length, between=None):
    """A message in parts, with something done behind the first one."""
    whole = message.encode() if isinstance(message, str) else message
    for at in range(0, max(1, len(whole)), length):
        yield whole[at : at + length]
        if between and at == 0:
            await between()


async def answer(connection, query):
    """Does for a client as the query says."""
    chosen = parse(query)
    while (message := await connection.receive()) is not None:
        match chosen.get("do"):
            case "ping":
                await connection.ping(message.encode())
                await connection.send(f"pong {message}")
            case "fragments":
                await connection.fragments(cut(message, 1000), isinstance(message, str))
            case "close":
                await connection.close(int(chosen["code"]), text(int(chosen["reason"])))
            case _:
                await connection.send(message)
    if "id" in chosen:
        code, reason, _ = connection.ended()
        print("closed", chosen["id"], code, reason, flush=True)


async def exchange(connection, messages):
    for number, message in enumerate(messages):
        await connection.send(message)
        await expect(connection, message, number)


async def expect(connection, message, number):
    came = await connection.receive()
    if came is None:
        raise ValueError(f"closed with {connection.ended()} in place of message {number}")
    if came != message:
        raise ValueError(f"message {number} came back as another")


async def messages(connection):
    """Below and above every threshold, with what came before in it and without."""

    def items(n):
        return json.dumps({"n": n, "items": [{"id": i * 7919, "name": f"item {i}", "price": i * 3.25} for i in range(20)]})

    random_bytes = random.Random(1).randbytes(100 * 1024)
    long = (items(4) * 100)[: 100 * 1024]
    sent = ["hybi", items(1), items(2), "", items(3), b"", random_bytes[:1000], long, random_bytes, random_bytes]
    await exchange(connection, [*sent, "é" * 500, items(5)])


async def sizes(connection):
    await exchange(connection, [make(length) for length in SIZES for make in (text, binary)])


async def many(connection):
    sent = [f"message {i}" if i % 2 else binary(i % 100) for i in range(MANY)]
    for message in sent:
        await connection.send(message)
    for number, message in enumerate(sent):
        await expect(connection, message, number)


async def fragments(connection):
    async def between():
        # §5.4: control frames MAY be injected in the middle of a fragmented message.
        await connection.ping(b"between")

    for number, message in enumerate((text(5000), binary(5000))):
        await connection.fragments(cut(message, 999, between), isinstance(message, str))
        await expect(connection, message, number)


async def ping(connection):
    for length in (0, 1, 125):
        await connection.ping(text(length).encode())


async def pinged(connection):
    for length in (0, 1, 125):
        await connection.send(text(length))
        await expect(connection, f"pong {text(length)}", length)


CASES = {case.__name__: case for case in (messages, sizes, many, fragments, ping, pinged)}


async def became(open_connection, url, line):
    """What became of a line; `open_connection` gets a URL, the offer and the subprotocols."""
    case, offer, choice = line.split(" ")
    chosen = parse(choice)
    protocols = ["other", PROTOCOL] if case == "protocol" else []
    connection = await open_connection(f"{url}/?{choice}", offer, protocols)
    if case == "close":
        await connection.close(int(chosen["code"]), text(int(chosen["reason"])))
    elif case == "closed":
        await connection.send("close")
        if await connection.receive() is not None:
            raise ValueError("a message came in place of the end")
    else:
        if case in CASES:
            await CASES[case](connection)
        await connection.close(1000, "")
        if connection.ended() != (1000, "", True):
            raise ValueError(f"the end was {connection.ended()}")
        return connection.protocol if case == "protocol" else connection.agreed
    code, reason, clean = connection.ended()
    return f"{code} {'clean' if clean else 'unclean'} {reason}"


async def run(open_connection, url):
    """Runs the lines of stdin, and prints what became of each."""
    for line in sys.stdin.read().splitlines():
        try:
            async with asyncio.timeout(GUARD):
                what = await became(open_connection, url, line)
        except Exception as error:  # whatever it is, the judge prints it
            what = f"! {type(error).__name__}: {error}".replace("\n", " ")
        print(f"{line} {what}", flush=True)


def main(open_connection, serve=None):
    """Is the program: `serve PORT`, or `connect URL` with lines on stdin."""
    _, what, where = sys.argv
    asyncio.run(serve(int(where)) if what == "serve" else run(open_connection, where))

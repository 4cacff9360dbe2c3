"""What clients and servers are tried with, a line each, and what must become of it.

    lines.py list CLIENT SERVER [WAY]         prints the lines
    lines.py judge CLIENT SERVER LOG [WAY]    reads what became of each, and judges it; LOG is the
                                              file with the server's output
    lines.py serves PEER                      says so, with its status, too, if it does not

CLIENT and SERVER are names of peers.py. With a WAY, the name of what stands between the two, only
the cases are tried, and not the combinations. A line is a case, the client's settings of
permessage-deflate and the server's choice, the last two as queries; `-` stands for the defaults.

The case says what the client does:

    messages    sends the texts and bytes that compress well and badly, and awaits each
    sizes       the same with a text and with bytes of each length where the header changes
    many        sends 1,000 short messages at once, and awaits them in order
    fragments   sends a text and bytes in fragments that cut characters, and awaits them
    kinds       sends what only a browser's API has: a Blob, a DataView, lone surrogates
    ping        sends pings, and awaits their pongs
    pinged      sends texts to a server that makes each the payload of a ping
    protocol    offers the subprotocols `other` and `echo`
    close       closes with a code and a reason
    empty       closes without
    closed      sends a text to a server that closes then

The choice is the server's settings of permessage-deflate, or `off`, and what else it is to know:

    id=N                 print `closed N CODE REASON` when the connection has ended
    do=ping              send each text as a ping, and when the pong is there `pong ` and the text
    do=fragments         send back what comes in fragments of 1,000 bytes
    do=close             close when something comes
    code=N, reason=N     to close with, on either side; the reason is a text of that many bytes

What became of it is the line with, behind it, the extension that was agreed on or `nothing`; the
subprotocol; the code, `clean` or `unclean`, and the reason that the client saw; or `!` and what went
wrong. The exit status is 1 when a line failed or is missing.
"""

import itertools
import sys
import time
from urllib.parse import parse_qs

import combinations
from peers import PEERS

CLOSES = ((1000, 0), (1000, 1), (3000, 2), (4999, 123))
# What a server may say, and a browser's page may not.
CLOSED = ((1001, 0), (1011, 20), (1014, 3), *CLOSES)
# A log is written before the client is done, nearly always.
GUARD = 60


def reason(length):
    """The text of so many bytes that is sent as a reason."""
    return "é" * (length // 2) + "!" * (length % 2)


def cases(client, server, way):
    """The lines beside the combinations."""
    connects, serves = PEERS[client]["client"], PEERS[server]["server"]
    # One server has many clients.
    numbers = (f"{client}-{way or 'straight'}-{number}" for number in itertools.count(1))
    off = "off" if connects["refrains"] else "-", "off"
    deflates = [off]
    if connects["deflate"] and serves["deflate"]:
        deflates.append(combinations.plainest(client, server))
    for offer, choice in deflates:
        def line(case, **more):
            more["id"] = next(numbers)
            return case, offer, "&".join(part for part in (choice.lstrip("-"), query(more)) if part)

        yield line("sizes")
        yield line("many")
        for case in ("fragments", "kinds", "ping"):
            if case in connects["can"]:
                yield line(case)
        if "fragments" in serves["can"]:
            yield line("sizes", do="fragments")
        if "ping" in serves["can"]:
            yield line("pinged", do="ping")
        yield line("protocol")
        for code, length in CLOSES:
            yield line("close", code=code, reason=length)
        if "empty" in connects["can"]:
            yield line("empty")
        for code, length in CLOSED:
            yield line("closed", do="close", code=code, reason=length)


def query(values):
    return "&".join(f"{name}={value}" for name, value in values.items())


def lines(client, server, way):
    if not way and PEERS[client]["client"]["deflate"] and PEERS[server]["server"]["deflate"]:
        for offer, choice in combinations.combinations(client, server):
            yield "messages", offer, choice
    yield from cases(client, server, way)


def fault(line, became, log):
    """What is wrong with what became of a line."""
    case, offer, choice = line
    chosen = {name: value for name, (value,) in parse_qs(choice).items()}
    code, said = int(chosen.get("code", 1005)), reason(int(chosen.get("reason", 0)))
    if case == "protocol":
        return None if became == "echo" else "agreed on another subprotocol"
    if case in ("close", "empty", "closed"):
        seen, clean, *rest = became.split(" ", 2)
        if clean != "clean":
            return "the end was not clean"
        seen, heard = int(seen), rest[0] if rest else ""
        there, what = log.closed(chosen["id"])
        if case == "closed":
            # §5.5.1: the answer typically echoes the code, and need not.
            if (seen, heard) != (code, said):
                return f"the client saw {seen} {heard}, and not what the server said"
            return None if there in (code, 1000) else f"the server saw {there} {what} as the answer"
        if (there, what) != (code, said):
            return f"the server saw {there} {what}, and not what the client said"
        return None if seen in (code, 1000) else f"the client saw {seen} as the answer"
    if choice.split("&")[0] == "off":
        return None if became == "nothing" else "agreed on an extension that is off"
    return combinations.fault((offer, choice), became)


class Log:
    """What the server wrote about ends; it may write later than the client does."""

    def __init__(self, path):
        self.path = path
        self.until = time.monotonic() + GUARD

    def closed(self, number):
        while True:
            with open(self.path, encoding="utf-8") as file:
                for row in file:
                    if row.startswith(f"closed {number} ") and row.endswith("\n"):
                        code, _, said = row.rstrip("\n").split(" ", 2)[2].partition(" ")
                        return int(code), said
            if time.monotonic() > self.until:
                return 0, "nothing"
            time.sleep(0.05)


def judge(client, server, log, way):
    wanted = list(lines(client, server, way))
    became = {}
    for row in sys.stdin:
        case, offer, choice, what = row.rstrip("\n").split(" ", 3)
        became[case, offer, choice] = what
    faults = []
    log = Log(log)
    for line in wanted:
        what = became.get(line, "! nothing was heard of it")
        wrong = what[2:] if what.startswith("!") else fault(line, what, log)
        if wrong:
            faults.append(f"  {' | '.join(line)}: {wrong} ({what})")
    combined = sum(case == "messages" for case, _, _ in wanted)
    through = f", {way} between" if way else ""
    print(
        f"{client} as client, {server} as server{through}: {combined} combinations and "
        f"{len(wanted) - combined} cases, {len(faults)} failed"
    )
    for text in faults[:20]:
        print(text)
    if faults:
        sys.exit(1)


def main():
    what, client, *rest = sys.argv[1:]
    if what == "serves":
        if "server" not in PEERS[client]:
            print(f"{client} has no server")
            sys.exit(1)
        return
    server, *rest = rest
    if what == "list":
        for line in lines(client, server, rest and rest[0]):
            print(*line)
    else:
        judge(client, server, rest[0], rest[1:] and rest[1])


if __name__ == "__main__":
    main()

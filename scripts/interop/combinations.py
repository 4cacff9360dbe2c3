"""The combinations of parameters of permessage-deflate, and what must be agreed (RFC 7692 §7.1).

    combinations.py list CLIENT SERVER         prints a line for each combination
    combinations.py judge CLIENT SERVER        reads what became of each, and judges it

CLIENT and SERVER are hybi, ws or websockets. A line is the client's settings and the server's, each
as a query of the parameters' names, `-` for the defaults. What became of it is that line with the
header that the server answered, or with `!` and what went wrong. The exit status is 1 when a
combination failed or is missing.
"""

import itertools
import sys

FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
BITS = range(9, 16)
FEW_BITS = (9, 12, 15)


def query(flags, server_bits, client_bits):
    parts = [name for name, on in zip(FLAGS, flags) if on]
    for name, bits in (("server_max_window_bits", server_bits), ("client_max_window_bits", client_bits)):
        if bits is not None:
            parts.append(f"{name}={bits}" if bits else name)
    return "&".join(parts) or "-"


def settings(peer, role, bits):
    """Every setting of a side. hybi always names its windows; the others may be silent, and their
    clients may name the parameter without a value (here 0)."""
    server_bits = [*bits] if peer == "hybi" else [None, *bits]
    client_bits = [None, 0, *bits] if role == "client" and peer != "hybi" else server_bits
    for flags in itertools.product((False, True), repeat=2):
        for pair in itertools.product(server_bits, client_bits):
            yield query(flags, *pair)


def combinations(client, server):
    bits = FEW_BITS if "websockets" in (client, server) else BITS
    # A server may ask for as large a window as it likes only of a client that can have it.
    widest = query((False, False), 15, 15) if client == "hybi" else query((False, False), None, 0)
    lines = [("-", "-")]
    lines += [(offer, "-") for offer in settings(client, "client", bits)]
    lines += [(widest, choice) for choice in settings(server, "server", bits)]
    # hybi's threshold applies always: every other time it compresses whatever there is.
    sides = [side for side, peer in enumerate((client, server)) if peer == "hybi"]
    for index in range(1, len(lines), 2):
        for side in sides:
            line = list(lines[index])
            line[side] = f"{line[side]}&threshold=0".removeprefix("-&")
            lines[index] = tuple(line)
    return lines


def parameters(text, separator):
    """The parameters by name; one without a value is True."""
    found = {}
    for part in text.split(separator):
        name, _, value = part.strip().partition("=")
        if name in found:
            raise ValueError(f"{name} twice")
        found[name] = int(value.strip('"')) if value else True
    return found


def window(chosen, name):
    """A window that a side has chosen: silence and a name alone are the largest."""
    bits = chosen.get(name, 15)
    return 15 if bits is True else bits


def fault(line, agreed):
    """What is wrong with what was agreed."""
    client, server = (parameters(side, "&") for side in line)
    name, _, rest = agreed.partition(";")
    if name.strip() != "permessage-deflate":
        return f"agreed on '{agreed}'"
    answer = parameters(rest, ";") if rest else {}
    if unknown := answer.keys() - {*FLAGS, "server_max_window_bits", "client_max_window_bits"}:
        return f"agreed on {sorted(unknown)}"
    if FLAGS[0] not in answer and (FLAGS[0] in client or FLAGS[0] in server):
        return "the server keeps its context"
    if FLAGS[1] not in answer and FLAGS[1] in server:
        return "the client keeps its context"
    for name in ("server_max_window_bits", "client_max_window_bits"):
        if answer.get(name) is True:
            return f"{name} without a value"
    most = min(window(client, "server_max_window_bits"), window(server, "server_max_window_bits"))
    if window(answer, "server_max_window_bits") > most:
        return f"the server's window is larger than {most}"
    if "client_max_window_bits" in answer and client != {"-": True}:
        if "client_max_window_bits" not in client:
            return "client_max_window_bits was not offered"
        if answer["client_max_window_bits"] > window(server, "client_max_window_bits"):
            return "the client's window is larger than the server's wish"
    return None


def judge(client, server):
    wanted = combinations(client, server)
    became = {}
    for row in sys.stdin:
        offer, choice, agreed = row.rstrip("\n").split(" ", 2)
        became[offer, choice] = agreed
    faults = []
    for line in wanted:
        agreed = became.get(line, "! nothing was heard of it")
        wrong = agreed[2:] if agreed.startswith("!") else fault(line, agreed)
        if wrong:
            faults.append(f"  {line[0]} | {line[1]}: {wrong} ({agreed})")
    print(f"{client} as client, {server} as server: {len(wanted)} combinations, {len(faults)} failed")
    for text in faults[:20]:
        print(text)
    if faults:
        sys.exit(1)


def main():
    _, what, client, server = sys.argv
    if what == "list":
        for line in combinations(client, server):
            print(*line)
    else:
        judge(client, server)


main()

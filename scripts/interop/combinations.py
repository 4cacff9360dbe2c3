"""The combinations of parameters of permessage-deflate, and what must be agreed (RFC 7692 §7.1).

Settings are written as a query of the parameters' names, `-` for the defaults. lines.py tries the
combinations and asks what is wrong with what was agreed.
"""

import itertools

from peers import PEERS

FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
BITS = range(9, 16)
FEW_BITS = (9, 12, 15)
# Whose every window is tried; of the others the smallest, the largest and one between.
THOROUGH = ("hybi", "ws")


def query(flags, server_bits, client_bits):
    parts = [name for name, on in zip(FLAGS, flags) if on]
    for name, bits in (("server_max_window_bits", server_bits), ("client_max_window_bits", client_bits)):
        if bits is not None:
            parts.append(f"{name}={bits}" if bits else name)
    return "&".join(parts) or "-"


def settings(peer, role, bits):
    """Every setting of a side. hybi always names its windows; the others may be silent, and their
    clients may name the parameter without a value (here 0)."""
    deflate = PEERS[peer][role]["deflate"]
    if deflate == "nothing":
        return
    if deflate == "server window":
        for server_bits in bits:
            yield query((False, False), server_bits, 0)
        return
    server_bits = [*bits] if peer == "hybi" else [None, *bits]
    client_bits = [None, 0, *bits] if role == "client" and peer != "hybi" else server_bits
    for flags in itertools.product((False, True), repeat=2):
        for pair in itertools.product(server_bits, client_bits):
            yield query(flags, *pair)


def widest(client):
    """An offer that leaves all to the server, which may ask for as large a window as it likes only
    of a client that can have it."""
    if PEERS[client]["client"]["deflate"] != "all":
        return "-"
    return query((False, False), 15, 15) if client == "hybi" else query((False, False), None, 0)


def plainest(client, server):
    """An offer and a choice on which the two agree."""
    return widest(client) if server == "picows" else "-", "-"


def combinations(client, server):
    bits = BITS if client in THOROUGH and server in THOROUGH else FEW_BITS
    # picows 2.3.1 answers any offer with the bare name, which denies a window that was demanded: the
    # client has to fail (RFC 7692 §7.1.2.1), and hybi does unless it offers the largest.
    if server == "picows":
        return [plainest(client, server)]
    lines = [("-", "-")]
    lines += [(offer, "-") for offer in settings(client, "client", bits)]
    lines += [(widest(client), choice) for choice in settings(server, "server", bits)]
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
    for part in filter(None, text.split(separator)):
        name, _, value = part.strip().partition("=")
        if name in found:
            raise ValueError(f"{name} twice")
        found[name] = int(value.strip('"')) if value else True
    return found


def window(found, name):
    """A window that a side has chosen: silence and a name alone are the largest."""
    bits = found.get(name, 15)
    return 15 if bits is True else bits


def chosen(side):
    """The parameters in a side's settings, which say other things, too."""
    return "&".join(part for part in side.split("&") if part.startswith(("server_", "client_")))


def fault(line, agreed):
    """What is wrong with what was agreed."""
    client, server = (parameters(chosen(side), "&") for side in line)
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
    if "client_max_window_bits" in answer and line[0] != "-":
        if "client_max_window_bits" not in client:
            return "client_max_window_bits was not offered"
        if answer["client_max_window_bits"] > window(server, "client_max_window_bits"):
            return "the client's window is larger than the server's wish"
    return None

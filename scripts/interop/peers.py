"""What each library can do as a client and as a server; what it cannot is not tried.

A role that is missing is one that the library does not have: undici, websocket-client and a browser
serve nothing. The names of a role:

    deflate     what of permessage-deflate can be chosen: "all" parameters; the "server window";
                "nothing", it is on or off; None, there is none
    refrains    a client can be told to offer no permessage-deflate
    can         the cases of lines.py that only some can run; for a server, to send "fragments" and
                a "ping" when it likes
"""

PEERS = {
    "hybi": {
        "client": {"deflate": "all", "refrains": True, "can": {"fragments", "ping"}},
        "server": {"deflate": "all", "can": {"fragments", "ping"}},
    },
    "ws": {
        "client": {"deflate": "all", "refrains": True, "can": {"fragments", "ping", "kinds", "empty"}},
        "server": {"deflate": "all", "can": {"fragments", "ping"}},
    },
    # It always offers, and never compresses what it sends. It has no way to send fragments.
    "undici": {
        "client": {"deflate": "nothing", "refrains": False, "can": {"ping", "kinds", "empty"}},
    },
    "websockets": {
        "client": {"deflate": "all", "refrains": True, "can": {"fragments", "ping"}},
        "server": {"deflate": "all", "can": {"fragments", "ping"}},
    },
    # It joins fragments and sends none.
    "aiohttp": {
        "client": {"deflate": "server window", "refrains": True, "can": {"ping"}},
        "server": {"deflate": "nothing", "can": {"ping"}},
    },
    "picows": {
        "client": {"deflate": "nothing", "refrains": True, "can": {"fragments", "ping"}},
        "server": {"deflate": "nothing", "can": {"fragments", "ping"}},
    },
    "websocket-client": {
        "client": {"deflate": None, "refrains": True, "can": {"fragments", "ping"}},
    },
    "chromium": {
        "client": {"deflate": "nothing", "refrains": False, "can": {"kinds", "empty"}},
    },
}

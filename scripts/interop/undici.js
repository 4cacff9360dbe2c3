// Node's undici, a client, as a peer of scripts/interop.sh.
//
//   node undici.js connect URL <LINES      runs each line of lines.py, and prints what became of it
//
// NODE_PATH tells where undici is. It is also the WebSocket that Node.js has built in.
'use strict'

const { channel } = require('diagnostics_channel')
const { WebSocket, ping } = require('undici')
const { connect } = require('./cases.js')

const pongs = new Map()
channel('undici:websocket:pong').subscribe(({ payload, websocket }) => pongs.get(websocket)?.(payload))

const peer = {
  open: (url, protocols) => new WebSocket(url, protocols),
  agreed: (ws) => ws.extensions || 'nothing',
  ping: (ws, payload) => new Promise((resolve) => {
    pongs.set(ws, resolve)
    ping(ws, Buffer.from(payload))
  }),
}

connect(peer, process.argv[3])

// Node's ws as a peer of scripts/interop.sh.
//
//   node ws.js serve PORT              does as the query of each connection says
//   node ws.js connect URL <LINES      runs each line of lines.py, and prints what became of it
//
// NODE_PATH tells where ws is.
'use strict'

const http = require('http')
const { WebSocket, WebSocketServer } = require('ws')
const { connect, text } = require('./cases.js')

function bits(query, name) {
  const value = query.get(name)
  return value === null ? undefined : value === '' ? true : Number(value)
}

function perMessageDeflate(settings, role) {
  if (settings === '-' || settings === '') return true
  const query = new URLSearchParams(settings)
  if (query.has('off')) return false
  const clientBits = bits(query, 'client_max_window_bits')
  return {
    serverNoContextTakeover: query.has('server_no_context_takeover') || undefined,
    clientNoContextTakeover: query.has('client_no_context_takeover') || undefined,
    serverMaxWindowBits: bits(query, 'server_max_window_bits'),
    // Undefined is `true` for a client.
    clientMaxWindowBits: clientBits === undefined && role === 'client' ? false : clientBits,
    threshold: 16,
  }
}

function serve(port) {
  http.createServer().on('upgrade', (request, socket, head) => {
    const choice = decodeURIComponent(request.url.split('?')[1] ?? '')
    const server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: perMessageDeflate(choice, 'server'),
      handleProtocols: (offered) => offered.has('echo') && 'echo',
    })
    server.handleUpgrade(request, socket, head, (ws) => answer(ws, socket, choice))
  }).listen(port, '127.0.0.1')
}

function answer(ws, socket, choice) {
  const chosen = new URLSearchParams(choice)
  ws.on('error', (error) => console.error(`${choice}: ${error.message}`))
  ws.on('close', (code, reason) => {
    if (chosen.has('id')) console.log(`closed ${chosen.get('id')} ${code} ${reason}`)
  })
  ws.on('pong', (data) => ws.send(`pong ${data}`))
  let read = 0
  ws.on('message', (data, isBinary) => {
    // The client sends the next message when it has this one back.
    const took = socket.bytesRead - read
    read = socket.bytesRead
    const what = chosen.get('do')
    if (what === 'ping') ws.ping(data)
    else if (what === 'close') ws.close(Number(chosen.get('code')), text(Number(chosen.get('reason'))))
    else if (what === 'fragments') fragments(ws, cut(data, 1000), !isBinary)
    else if (!chosen.has('id') && !isBinary && data.length >= 1000 && took * 2 > data.length) ws.close(4000, `a text of ${data.length} B took ${took} B`)
    else ws.send(data, { binary: isBinary })
  })
}

function cut(data, length) {
  return Array.from({ length: Math.max(1, Math.ceil(data.length / length)) }, (_, i) => data.subarray(i * length, (i + 1) * length))
}

async function fragments(ws, parts, isText, between) {
  for (const [i, part] of parts.entries()) {
    ws.send(part, { binary: !isText, fin: i === parts.length - 1 })
    if (i === 0) await between?.()
  }
}

const peer = {
  open(url, protocols, offer) {
    const ws = new WebSocket(url, protocols, { perMessageDeflate: perMessageDeflate(offer, 'client') })
    ws.on('upgrade', (response) => { ws.agreed = response.headers['sec-websocket-extensions'] ?? 'nothing' })
    return ws
  },
  agreed: (ws) => ws.agreed,
  ping: (ws, payload) => new Promise((resolve) => {
    ws.once('pong', resolve)
    ws.ping(payload)
  }),
  fragments,
}

const [what, where] = process.argv.slice(2)
if (what === 'serve') serve(Number(where))
else connect(peer, where)

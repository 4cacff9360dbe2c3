// Node's ws as a peer of scripts/interop.sh.
//
//   node ws.js serve PORT              echoes, each connection with the settings in its query
//   node ws.js connect URL <LINES      runs each line of combinations.py, and prints what became of it
//
// NODE_PATH tells where ws is.
'use strict'

const http = require('http')
const readline = require('readline')
const { WebSocket, WebSocketServer } = require('ws')

const AT_ONCE = 4
// Only what hangs is ended by it.
const GUARD = 20000

function bits(query, name) {
  const value = query.get(name)
  return value === null ? undefined : value === '' ? true : Number(value)
}

function perMessageDeflate(text, role) {
  if (text === '-' || text === '') return true
  const query = new URLSearchParams(text)
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
  const servers = new Map()
  http.createServer().on('upgrade', (request, socket, head) => {
    const text = decodeURIComponent(request.url.split('?')[1] ?? '')
    let server = servers.get(text)
    if (!server) {
      server = new WebSocketServer({ noServer: true, perMessageDeflate: perMessageDeflate(text, 'server') })
      servers.set(text, server)
    }
    server.handleUpgrade(request, socket, head, (ws) => {
      ws.on('error', (error) => console.error(`${text}: ${error.message}`))
      let read = 0
      ws.on('message', (data, isBinary) => {
        // The client sends the next message when it has this one back.
        const took = socket.bytesRead - read
        read = socket.bytesRead
        if (!isBinary && data.length >= 1000 && took * 2 > data.length) ws.close(4000, `a text of ${data.length} B took ${took} B`)
        else ws.send(data, { binary: isBinary })
      })
    })
  }).listen(port, '127.0.0.1')
}

// What is sent, in this order and all at once: below and above every threshold, with what came
// before in it and without.
function messages() {
  const json = (n) => JSON.stringify({ n, items: Array.from({ length: 12 }, (_, i) => ({ id: i * 7919, name: `item ${i}`, tags: ['alpha', 'beta'], price: i * 3.25 })) })
  const noise = Buffer.alloc(100 * 1024)
  for (let i = 0, state = 1; i < noise.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    noise[i] = state >>> 24
  }
  return ['hybi', json(1), json(2), '', json(3), Buffer.alloc(0), noise.subarray(0, 1000), json(4).repeat(100).slice(0, 100 * 1024), noise, noise, 'é'.repeat(500), json(5)]
}

function exchange(url, text) {
  return new Promise((resolve, reject) => {
    const sent = messages()
    let heard = 0
    let agreed = 'nothing'
    const ws = new WebSocket(url, { perMessageDeflate: perMessageDeflate(text, 'client') })
    const guard = setTimeout(() => {
      ws.terminate()
      reject(new Error(`hangs after ${heard} messages`))
    }, GUARD)
    ws.on('upgrade', (response) => { agreed = response.headers['sec-websocket-extensions'] ?? 'nothing' })
    ws.on('open', () => sent.forEach((message) => ws.send(message)))
    ws.on('message', (data, isBinary) => {
      const wanted = sent[heard]
      if (isBinary !== (typeof wanted !== 'string') || !data.equals(Buffer.from(wanted))) {
        reject(new Error(`message ${heard} came back as another`))
        ws.terminate()
      }
      heard += 1
      if (heard === sent.length) ws.close(1000)
    })
    ws.on('error', reject)
    ws.on('close', (code) => {
      clearTimeout(guard)
      if (heard === sent.length && code === 1000) resolve(agreed)
      else reject(new Error(`closed with ${code} after ${heard} messages`))
    })
  })
}

async function connect(url) {
  const lines = []
  for await (const line of readline.createInterface({ input: process.stdin })) lines.push(line)
  let next = 0
  const work = async () => {
    while (next < lines.length) {
      const line = lines[next++]
      const [client, server] = line.split(' ')
      const became = await exchange(`${url}/?${server}`, client).catch((error) => `! ${error.message}`)
      console.log(`${line} ${became}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

const [what, where] = process.argv.slice(2)
if (what === 'serve') serve(Number(where))
else connect(where)

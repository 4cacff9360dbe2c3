// The cases of lines.py for clients that have the WebSocket of the browsers, in Node.js and in them.
//
// A peer is what they differ in:
//
//   open(url, protocols, offer)    a WebSocket with these settings of permessage-deflate
//   agreed(ws)                     the extensions that were agreed on, as a header
//   ping(ws, bytes)                sends a ping; a promise of the bytes of its pong (if it can)
//   fragments(ws, parts, isText, between)
//                                  sends a message in fragments and does something behind the
//                                  first one (if it can)
'use strict'

const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]
const MANY = 1000

// A text of so many bytes.
function text(length) {
  return 'é'.repeat(length >> 1) + '!'.repeat(length & 1)
}

function bytes(length) {
  return Uint8Array.from({ length }, (_, i) => i % 251)
}

// Below and above every threshold, with what came before in it and without.
function messages() {
  const json = (n) => JSON.stringify({ n, items: Array.from({ length: 12 }, (_, i) => ({ id: i * 7919, name: `item ${i}`, tags: ['alpha', 'beta'], price: i * 3.25 })) })
  const noise = new Uint8Array(100 * 1024)
  for (let i = 0, state = 1; i < noise.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    noise[i] = state >>> 24
  }
  return ['hybi', json(1), json(2), '', json(3), new Uint8Array(0), noise.subarray(0, 1000), json(4).repeat(100).slice(0, 100 * 1024), noise, noise, 'é'.repeat(500), json(5)]
}

function same(sent, came) {
  if (typeof sent === 'string') return sent === came
  if (!(came instanceof ArrayBuffer) || came.byteLength !== sent.length) return false
  const view = new Uint8Array(came)
  return sent.every((byte, i) => byte === view[i])
}

// What comes, one after the other, and the end.
class Inbox {
  constructor(ws) {
    this.came = []
    this.waiting = null
    ws.binaryType = 'arraybuffer'
    ws.onmessage = ({ data }) => {
      this.came.push(data)
      this.waiting?.()
    }
    this.ended = new Promise((resolve) => {
      ws.onclose = (event) => {
        this.end = event
        this.waiting?.()
        resolve(event)
      }
    })
    this.opened = new Promise((resolve) => { ws.onopen = resolve })
    // What it says is in the close event, too, or in nothing that a page may see.
    ws.onerror = () => {}
  }

  async next() {
    while (this.came.length === 0) {
      if (this.end) throw new Error(`closed with ${this.end.code} ${this.end.reason}`)
      await new Promise((resolve) => { this.waiting = resolve })
    }
    return this.came.shift()
  }

  async expect(messages) {
    for (const [number, message] of messages.entries()) {
      const came = await this.next()
      if (!same(message, came)) throw new Error(`message ${number} came back as another`)
    }
  }
}

async function drained(ws) {
  while (ws.bufferedAmount > 0) await new Promise((resolve) => setTimeout(resolve, 1))
}

const CASES = {
  async messages(ws, inbox) {
    const sent = messages()
    sent.forEach((message) => ws.send(message))
    await inbox.expect(sent)
  },

  async sizes(ws, inbox) {
    for (const length of SIZES) {
      for (const message of [text(length), bytes(length)]) {
        ws.send(message)
        await inbox.expect([message])
      }
    }
    await drained(ws)
  },

  async many(ws, inbox) {
    const sent = Array.from({ length: MANY }, (_, i) => (i % 2 ? `message ${i}` : bytes(i)))
    sent.forEach((message) => ws.send(message))
    await inbox.expect(sent)
    await drained(ws)
  },

  async fragments(ws, inbox, peer) {
    const encoder = new TextEncoder()
    for (const message of [text(5000), bytes(5000)]) {
      const whole = typeof message === 'string' ? encoder.encode(message) : message
      const parts = Array.from({ length: 7 }, (_, i) => whole.subarray(i * 999, (i + 1) * 999))
      // §5.4: control frames MAY be injected in the middle of a fragmented message.
      await peer.fragments(ws, parts, typeof message === 'string', () => peer.ping(ws, bytes(5)))
      await inbox.expect([message])
    }
  },

  async kinds(ws, inbox) {
    ws.send(new Blob(['grü', 'ße']))
    ws.send(new DataView(bytes(100).buffer, 10, 20))
    ws.send(bytes(50).buffer)
    // Text is of characters, and half a surrogate pair is none.
    ws.send('a\ud800b\udc00')
    await inbox.expect([new TextEncoder().encode('grüße'), bytes(100).subarray(10, 30), bytes(50), 'a\ufffdb\ufffd'])
  },

  async ping(ws, inbox, peer) {
    for (const length of [0, 1, 125]) {
      const pong = await peer.ping(ws, bytes(length))
      if (!same(bytes(length), new Uint8Array(pong).buffer)) throw new Error(`the pong of ${length} bytes is another`)
    }
  },

  async pinged(ws, inbox) {
    for (const length of [0, 1, 125]) {
      ws.send(text(length))
      await inbox.expect([`pong ${text(length)}`])
    }
  },

  async protocol(ws) {
    return ws.protocol
  },
}

function ended({ code, wasClean, reason }) {
  return `${code} ${wasClean ? 'clean' : 'unclean'} ${reason}`
}

// Runs one line; a promise of what became of it.
async function run(peer, url, line) {
  const [what, offer, choice] = line.split(' ')
  const chosen = new URLSearchParams(choice)
  const ws = peer.open(`${url}/?${choice}`, what === 'protocol' ? ['other', 'echo'] : [], offer)
  const inbox = new Inbox(ws)
  await Promise.race([inbox.opened, inbox.ended])
  if (inbox.end) throw new Error(`not connected: ${ended(inbox.end)}`)
  if (what === 'close') ws.close(Number(chosen.get('code')), text(Number(chosen.get('reason'))))
  else if (what === 'empty') ws.close()
  else if (what === 'closed') ws.send('close')
  else {
    const became = await CASES[what](ws, inbox, peer)
    ws.close(1000)
    const end = await inbox.ended
    if (end.code !== 1000 || !end.wasClean) throw new Error(`the end was ${ended(end)}`)
    return became ?? peer.agreed(ws)
  }
  return ended(await inbox.ended)
}

// As `run`, but whatever goes wrong is what became of it; `guard` only ends what hangs.
async function became(peer, url, line, guard = 60000) {
  let timer
  const hangs = new Promise((_, reject) => { timer = setTimeout(reject, guard, new Error('hangs')) })
  try {
    return await Promise.race([run(peer, url, line), hangs])
  } catch (error) {
    return `! ${error.message}`.replaceAll('\n', ' ')
  } finally {
    clearTimeout(timer)
  }
}

// Runs the lines of stdin, some at once, and prints what became of each.
async function connect(peer, url, atOnce = 4) {
  const lines = []
  for await (const line of require('readline').createInterface({ input: process.stdin })) lines.push(line)
  const work = async () => {
    for (let line; (line = lines.shift()) !== undefined;) console.log(`${line} ${await became(peer, url, line)}`)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  // What hung may still be open.
  process.exit()
}

if (typeof module !== 'undefined') module.exports = { connect, text }

// Headless Chromium, a client, as a peer of scripts/interop.sh, driven by playwright-core.
//
//   node chromium.js connect URL <LINES      runs each line of lines.py, and prints what became of it
//   node chromium.js page URL PROTOCOL       uses the page of `hybi serve` there, over `http/1.1` or
//                                            `h2`
//   node chromium.js page URL PROTOCOL SAME FOREIGN
//                                            does so, and sees who may connect: not the page of SAME,
//                                            another name of URL's server, to URL, and not that of
//                                            URL to the server FOREIGN
//
// NODE_PATH tells where playwright-core is, CHROMIUM which browser it drives.
'use strict'

const fs = require('fs')
const os = require('os')
const path = require('path')
const readline = require('readline')
const { chromium } = require('playwright-core')

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const AT_ONCE = 4
// Only what hangs is ended by it.
const GUARD = 60000

async function browse(use) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hybi-chromium-'))
  const browser = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
    // The certificate of the proxies is their own.
    ignoreHTTPSErrors: true,
  })
  browser.setDefaultTimeout(GUARD)
  try {
    await use(browser)
  } finally {
    await browser.close()
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

// A page of the origin of the WebSocket's URL, whatever its server says to a plain request.
async function pageAt(browser, url) {
  // Nothing tells the browser that such a page is as local as the server.
  await browser.grantPermissions(['local-network-access'])
  const page = await browser.newPage()
  await page.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }))
  await page.goto(url.replace(/^ws/, 'http'))
  await page.addScriptTag({ path: path.join(__dirname, 'cases.js') })
  return page
}

async function connect(url) {
  const lines = []
  for await (const line of readline.createInterface({ input: process.stdin })) lines.push(line)
  await browse(async (browser) => {
    const page = await pageAt(browser, url)
    const peer = '({ open: (url, protocols) => new WebSocket(url, protocols), agreed: (ws) => ws.extensions || "nothing" })'
    const work = async () => {
      for (let line; (line = lines.shift()) !== undefined;) {
        console.log(`${line} ${await page.evaluate(`became(${peer}, ${JSON.stringify(url)}, ${JSON.stringify(line)})`)}`)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  })
}

let tried = 0
let failed = 0
async function check(what, holds) {
  tried += 1
  try {
    await holds()
  } catch (error) {
    failed += 1
    console.log(`FAILED: ${what}: ${error.message}`)
  }
}

function equal(seen, expected) {
  if (seen !== expected) throw new Error(`${JSON.stringify(seen)}, and not ${JSON.stringify(expected)}`)
}

// What becomes of a WebSocket that a page opens: `open`, or how it ended and with which status.
async function connected(page, url) {
  const refusal = page.waitForEvent('console', { predicate: (message) => message.text().includes('Unexpected response code') })
  refusal.catch(() => {})
  const state = await page.evaluate((url) => new Promise((resolve) => {
    const ws = new WebSocket(url)
    ws.onopen = () => resolve('open')
    ws.onclose = ({ code, wasClean }) => resolve(`${code} ${wasClean}`)
  }), url)
  return state === 'open' ? state : `${state}, ${(await refusal).text().split(' ').at(-1)}`
}

// Uses the page of `hybi serve`, whose server has compression on, as a person does.
async function usePage(url, protocol, same, foreign) {
  await browse(async (browser) => {
    const page = await browser.newPage()
    const handshakes = []
    const devtools = await browser.newCDPSession(page)
    devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response.status))
    await devtools.send('Network.enable')
    const answers = page.locator('#log li span')
    await page.goto(url)
    await check('the page connects', () => page.waitForSelector('#state.open'))
    await check('it echoes what is typed', async () => {
      await page.fill('#text', 'grüß dich')
      await page.click('#send')
      equal(await answers.first().textContent(), 'grüß dich')
    })
    await check('it streams', async () => {
      await page.click('#stream')
      await page.waitForFunction(() => Number(document.getElementById('count').textContent) > 5)
      await page.click('#stream')
    })
    await check('compression was negotiated', async () => equal(await page.evaluate(() => socket.extensions.split(';')[0]), 'permessage-deflate'))
    await check('it closes as it is told', async () => {
      await page.evaluate(() => socket.close(4000, 'genug'))
      await page.waitForFunction(() => document.getElementById('state').textContent.startsWith('closed with 4000'))
      equal(await page.locator('#state').getAttribute('class'), 'state ')
    })
    await check('it connects again', async () => {
      await page.click('#again')
      await page.waitForSelector('#state.open')
    })
    await check(`it came over ${protocol}`, async () => equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), protocol))
    // RFC 8441 §5: over HTTP/2 a 2xx is what 101 is over HTTP/1.1.
    await check('so did the WebSockets', async () => equal(handshakes.join(' '), protocol === 'h2' ? '200 200' : '101 101'))
    if (!foreign) return
    const other = await browser.newPage()
    await other.goto(same)
    await check('--origin lets its page in', async () => equal(await connected(page, url.replace('http', 'ws')), 'open'))
    await check('--origin keeps others out', async () => equal(await connected(other, url.replace('http', 'ws')), '1006 false, 403'))
    await check('a server lets no foreign page in by itself', async () => equal(await connected(page, foreign), '1006 false, 403'))
  })
  console.log(`chromium, the page of hybi serve at ${url.replace(/:\d+/, '')} over ${protocol}: ${tried} checks, ${failed} failed`)
  if (failed > 0) process.exit(1)
}

const [what, ...where] = process.argv.slice(2)
const done = what === 'page' ? usePage(...where) : connect(...where)
done.catch((error) => {
  console.log(`chromium: ${error.message}`)
  process.exit(1)
})

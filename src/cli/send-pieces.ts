import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { PiecesRequest } from '../client/everfold-client.js'

/** Shorter than the service keeps a connection that nobody uses: none is taken that it is about to close. */
const IDLE_MS = 3000
/** How long nothing may move, as that of `fetch` in Node.js. */
const STALL_MS = 300_000

const agents = {
  http: new HttpAgent({ keepAlive: true, timeout: IDLE_MS }),
  https: new HttpsAgent({ keepAlive: true, timeout: IDLE_MS }),
}

/** Sends a body from where its pieces lie: `fetch` wants it in one piece, and copies that twice. Follows no redirect. */
export async function sendPieces(
  url: URL,
  { method, headers, body, signal }: PiecesRequest,
): Promise<Response> {
  const isSecure = url.protocol === 'https:'
  const length = body.reduce((sum, piece) => sum + piece.length, 0)
  const options: RequestOptions = {
    method,
    headers: { ...Object.fromEntries(headers), 'Content-Length': length },
    agent: isSecure ? agents.https : agents.http,
    ...(signal === undefined ? {} : { signal }),
  }
  const request = isSecure ? httpsRequest(url, options) : httpRequest(url, options)
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve)
    request.on('error', reject)
    request.setTimeout(STALL_MS, () => request.destroy(new Error(`nothing moved for ${STALL_MS / 1000} s`)))
    for (const piece of body) request.write(piece)
    request.end()
  })
  const { statusCode = 0, statusMessage = '' } = answer
  if (statusCode >= 300 && statusCode < 400) {
    request.destroy()
    throw new Error(`it answered with a redirect (${statusCode})`)
  }
  const content = Buffer.concat((await answer.toArray()) as Buffer[])
  // It refused what it did not read to its end: the rest is not sent.
  if (statusCode >= 400 && !request.writableFinished) request.destroy()
  const answered = new Headers()
  for (const [name, values = []] of Object.entries(answer.headersDistinct))
    for (const value of values) answered.append(name, value)
  return new Response(content.length === 0 ? null : content, {
    status: statusCode,
    statusText: statusMessage,
    headers: answered,
  })
}

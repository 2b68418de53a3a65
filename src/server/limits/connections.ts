import type { Server, Socket } from 'node:net'

/**
 * Holds connections to so many from one address; those beyond are closed, as those are that are too many in all.
 * @returns what cuts all that there are: also those that are still at the handshake of TLS, which the server's own `closeAllConnections` does
 *          not know of
 */
export function limitConnections(server: Server, perAddress: number): () => void {
  const open = new Map<string, number>()
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    const address = networkOf(socket.remoteAddress ?? '')
    const before = open.get(address) ?? 0
    if (before >= perAddress) {
      socket.destroy()
      return
    }
    open.set(address, before + 1)
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      const left = (open.get(address) ?? 1) - 1
      if (left > 0) open.set(address, left)
      else open.delete(address)
    })
  })
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

/** Who has IPv6 has a network of 2^64 addresses: its first four groups are taken for one. */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const groups = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  while (tail !== undefined && groups.length + after.length < 8) groups.push('0')
  return [...groups, ...after].slice(0, 4).join(':')
}

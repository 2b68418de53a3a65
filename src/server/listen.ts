/** Where to listen. */
export interface Listen {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
}

export const LISTEN_DEFAULT: Listen = { host: '127.0.0.1', port: 7070 }

/** `127.0.0.1:7070`, `[::1]:7070`, `backup.example:7070`; undefined for anything else. */
export function parseListen(text: string): Listen | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/i.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  return host !== undefined && port <= 65_535 ? { host, port } : undefined
}

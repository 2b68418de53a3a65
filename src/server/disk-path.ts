import type { IncomingMessage } from 'node:http'
import type * as z from 'zod'
import { diskParams } from './route.js'

export type DiskParams = z.output<typeof diskParams>

const DISK_PATH = /^\/v1\/machines\/([^/?#]+)\/points\/([^/?#]+)\/disks\/([^/?#]+)\/raw$/

/** Addresses that are remembered. */
const REMEMBERED_MAX = 64

/**
 * What requests read, if that is a disk: it is done thousands of times a second, and then Express takes as long to find the way to the route as
 * the route does to answer, and it is nearly always the same few addresses. Everything else, and what is not well-formed, goes by Express.
 */
export class DiskPaths {
  /** Least recently found out first. */
  readonly #known = new Map<string, DiskParams>()

  paramsOf({ method, url = '' }: Pick<IncomingMessage, 'url' | 'method'>): DiskParams | undefined {
    return method === 'GET' ? (this.#known.get(url) ?? this.#find(url)) : undefined
  }

  #find(url: string): DiskParams | undefined {
    const [, machine, point, disk] = DISK_PATH.exec(url) ?? []
    if (machine === undefined || point === undefined || disk === undefined) return undefined
    const params = checked(machine, point, disk)
    if (params === undefined) return undefined
    this.#known.set(url, params)
    for (const [oldest] of this.#known) {
      if (this.#known.size <= REMEMBERED_MAX) break
      this.#known.delete(oldest)
    }
    return params
  }
}

function checked(machine: string, point: string, disk: string): DiskParams | undefined {
  try {
    return diskParams.parse({
      machine: decodeURIComponent(machine),
      point: decodeURIComponent(point),
      disk: decodeURIComponent(disk),
    })
  } catch {
    return undefined
  }
}

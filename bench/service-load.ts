import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { EverfoldClient, InlineWorkers } from '../src/client/everfold-client.js'
import { KiB, MiB } from './image.js'
import type { LoopFigures } from './loop-probe.js'
import { median } from './measure.js'
import { SeededBytes } from './seeded-bytes.js'
import { loopOf, type ServiceProcess } from './service-process.js'

export interface LoadOptions {
  readonly clients: number
  /** How long incrementals go on. */
  readonly loadSeconds: number
}

export interface Load {
  readonly commits: number
  /** Backups that ended with an error. */
  readonly failures: number
  readonly sentMiBPerSecond: number
  /** From asking for the commit to its answer. */
  readonly commitP50Ms: number
  readonly commitP99Ms: number
  /** Resident memory of the service: at its highest, and the median of the second and of the last quarter of the time. */
  readonly memoryMaxBytes: number
  readonly memoryEarlyBytes: number
  readonly memoryLateBytes: number
  /** Of the service, while they send; undefined if it has no probe. */
  readonly loop: LoopFigures | undefined
}

/** Each client's disk. */
const diskBytes = 8 * MiB
const blockBytes = 64 * KiB
/** What changes from point to point: 3 MiB. */
const changedBlocks = 48
const sampleMs = 500

/** A machine whose disk is in memory. */
class LoadClient {
  readonly machine: string
  readonly disk: Buffer
  readonly #random: SeededBytes

  constructor(number: number) {
    this.machine = `load-${number}`
    this.#random = new SeededBytes(this.machine)
    this.disk = this.#random.next(diskBytes)
  }

  get source() {
    return {
      sizeBytes: diskBytes,
      read: async (into: Uint8Array, offset: number) =>
        into.set(this.disk.subarray(offset, offset + into.length)),
    }
  }

  /** Overwrites blocks. @returns where */
  change(): { readonly offset: number; readonly length: number }[] {
    const blocks = new Set<number>()
    while (blocks.size < changedBlocks) blocks.add(this.#random.below(diskBytes / blockBytes))
    const places = [...blocks].sort((a, b) => a - b)
    for (const block of places) this.#random.next(blockBytes).copy(this.disk, block * blockBytes)
    return places.map((block) => ({ offset: block * blockBytes, length: blockBytes }))
  }
}

function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) * 1024
}

/**
 * Many clients at once, each sending one incremental after the other, through the same client that the command has. At the end a disk of
 * each is read back and compared.
 */
export async function runLoad(service: ServiceProcess, options: LoadOptions): Promise<Load> {
  const commits: number[] = []
  const timedFetch: typeof fetch = async (input, init) => {
    const beganMs = performance.now()
    const response = await fetch(input, init)
    const { pathname } = new URL(input instanceof Request ? input.url : input)
    if (pathname.endsWith('/commit')) commits.push(performance.now() - beganMs)
    return response
  }
  const api = new EverfoldClient({ url: service.url, token: service.token, fetch: timedFetch })
  const workers = new InlineWorkers((bytes) => createHash('sha256').update(bytes).digest())
  const clients = Array.from({ length: options.clients }, (_, i) => new LoadClient(i))
  let failures = 0
  let sentBytes = 0
  const backUp = async (client: LoadClient, changed?: ReturnType<LoadClient['change']>): Promise<void> => {
    try {
      const disk = { id: 'vda', source: client.source, changed }
      await api.backUp({ machine: client.machine, disks: [disk], workers, requests: 1 })
      sentBytes += changed === undefined ? 0 : changedBlocks * blockBytes
    } catch (error) {
      // Without its full a client has nothing to go on from.
      if (changed === undefined) throw error
      failures++
      console.error(`a backup of ${client.machine} failed: ${String(error)}`)
    }
  }
  for (const client of clients) await backUp(client)
  commits.length = 0
  await loopOf(service)
  const memory: number[] = []
  const startMs = performance.now()
  const endMs = startMs + options.loadSeconds * 1000
  const sampler = (async () => {
    while (performance.now() < endMs) {
      memory.push(residentBytes(service.child.pid ?? 0))
      await sleep(sampleMs)
    }
  })()
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < endMs) await backUp(client, client.change())
    }),
  )
  const seconds = (performance.now() - startMs) / 1000
  const loop = await loopOf(service)
  await sampler
  for (const client of clients) await compare(api, client)
  commits.sort((a, b) => a - b)
  const at = (share: number): number =>
    commits[Math.min(commits.length - 1, Math.floor(commits.length * share))] ?? 0
  const quarter = (from: number): readonly number[] => {
    const part = memory.slice(Math.floor(memory.length * from), Math.ceil(memory.length * (from + 0.25)))
    return part.length > 0 ? part : memory
  }
  return {
    commits: commits.length,
    failures,
    sentMiBPerSecond: sentBytes / MiB / seconds,
    commitP50Ms: at(0.5),
    commitP99Ms: at(0.99),
    memoryMaxBytes: Math.max(...memory),
    memoryEarlyBytes: median(quarter(0.25)),
    memoryLateBytes: median(quarter(0.75)),
    loop,
  }
}

async function compare(api: EverfoldClient, client: LoadClient): Promise<void> {
  const disk = await api.disk(client.machine, 'latest', 'vda')
  const found = Buffer.alloc(diskBytes)
  for await (const { offset, bytes } of disk.read([{ offset: 0, length: diskBytes }]))
    found.set(bytes, offset)
  if (!client.disk.equals(found)) throw new Error(`${client.machine} has other bytes than were backed up`)
}

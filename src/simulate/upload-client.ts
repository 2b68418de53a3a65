import type { ExtentList } from '../chain/extent-list.js'
import type { SessionRequest } from '../chain/session/new-session.js'
import { arrivedOf, rangesOf, type Session } from '../chain/session/session.js'
import type { Sessions } from '../chain/session/sessions.js'
import { SimulationFailure } from './failure.js'
import type { ModelMachine, PointContent, Uncertain } from './model.js'
import type { Service } from './service.js'

/** A range of a disk's bytes. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** A disk as it was when its upload began, and what the client knows of its bytes: one number for each. */
export class UploadedDisk {
  readonly id: string
  readonly chunker: 'fixed' | 'cdc'
  readonly bytes: Buffer
  /** What the parent has, if only changes are sent. */
  readonly parent: Buffer | undefined
  /** 1: differs from the parent, or there is none. */
  readonly required: Uint8Array
  /** 1: was sent at some time, and may have arrived. */
  readonly sent: Uint8Array
  /** 1: the answer said that it is durable. */
  readonly durable: Uint8Array
  /** 1: other bytes were sent here, and nothing else was acknowledged since. */
  readonly wrong: Uint8Array

  constructor(id: string, chunker: 'fixed' | 'cdc', bytes: Buffer, parent: Buffer | undefined) {
    this.id = id
    this.chunker = chunker
    this.bytes = bytes
    this.parent = parent
    this.required = new Uint8Array(bytes.length)
    for (let i = 0; i < bytes.length; i++)
      this.required[i] = parent === undefined || i >= parent.length || parent[i] !== bytes[i] ? 1 : 0
    this.sent = new Uint8Array(bytes.length)
    this.durable = new Uint8Array(bytes.length)
    this.wrong = new Uint8Array(bytes.length)
  }

  /** What has to be sent still, as far as the client knows. @param arrived  what the service says has come */
  missing(arrived?: Uint8Array): Span[] {
    const spans: Span[] = []
    for (let i = 0, start = -1; i <= this.bytes.length; i++) {
      const there = (arrived ?? this.durable)[i] === 1
      const lacks = i < this.bytes.length && (this.wrong[i] === 1 || (this.required[i] === 1 && !there))
      if (lacks && start < 0) start = i
      if (lacks || start < 0) continue
      spans.push({ start, end: i })
      start = -1
    }
    return spans
  }
}

/** Whoever uploads a point: goes on with the same session whatever becomes of the service. */
export class UploadClient {
  readonly machine: ModelMachine
  readonly request: SessionRequest
  readonly key: string | undefined
  readonly disks: readonly UploadedDisk[]
  readonly content: PointContent
  /** The session, once the client was told of it, the point that it is going to be, and what that is relative to. */
  session: string | undefined
  point = ''
  base: string | null = null
  /** Ids of all points that this upload may have become. */
  readonly points = new Set<string>()
  /** What may have come of a commit whose answer did not arrive. */
  readonly uncertain: Uncertain
  triedCommit = false
  isCommitted = false
  /** It was dropped, or so much time went by that it may have been. */
  mayBeGone = false
  /** When it last had an answer about its session. */
  usedMs = 0
  /** Requests under way; one that must be alone. */
  running = 0
  isExclusive = false
  /** Chunks that the service said it has, and which process of it: it holds them as long as it lives. */
  readonly offered = new Map<string, Service>()
  /** What was offered at once: to be sent some time later. */
  offers: { readonly number: number; readonly span: Span; readonly chunks: readonly Span[] }[] = []

  constructor(
    machine: ModelMachine,
    request: SessionRequest,
    key: string | undefined,
    disks: readonly UploadedDisk[],
  ) {
    this.machine = machine
    this.request = request
    this.key = key
    this.disks = disks
    this.content = new Map(disks.map((disk) => [disk.id, disk.bytes]))
    this.uncertain = { kind: 'backup', content: this.content }
  }

  /** The service is gone, with all requests. */
  stop(): void {
    this.running = 0
    this.isExclusive = false
  }

  /** Notes what a session is, when the client is first told. */
  meet({ begin }: Session): void {
    if (this.session !== undefined && this.session !== begin.session)
      throw new SimulationFailure(`one key gave two sessions: ${this.session} and ${begin.session}`)
    this.session = begin.session
    this.point = begin.point
    this.base = begin.base
    this.points.add(begin.point)
  }

  /**
   * What has arrived of a disk, one number for each byte. What was acknowledged must be there, and nothing that was not sent. What is said
   * to be there is acknowledged by that: nobody sends it again.
   * @param mayLack  What was acknowledged may have to come again.
   */
  async arrived(sessions: Sessions, session: Session, number: number, mayLack: boolean): Promise<Uint8Array> {
    const disk = this.disks[number]
    if (disk === undefined) throw new RangeError('no such disk')
    // More may be acknowledged while this is asked.
    const durable = disk.durable.slice()
    const list = arrivedOf(await sessions.arrived(session), number)
    const arrived = bytesOf(list, disk.bytes.length)
    const told = `session ${session.id} of ${this.machine.name}, disk ${disk.id}`
    for (let i = 0; i < arrived.length; i++) {
      if (arrived[i] === 1 && disk.sent[i] === 0)
        throw new SimulationFailure(`${told}: byte ${i} was never sent, and has arrived`)
      if (arrived[i] === 1) disk.durable[i] = 1
      if (arrived[i] === 1 || durable[i] === 0) continue
      if (!mayLack) throw new SimulationFailure(`${told}: byte ${i} was acknowledged, and is lost`)
      disk.durable[i] = 0
    }
    return arrived
  }
}

function bytesOf(list: ExtentList, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (const { offset, length: size } of rangesOf(list)) bytes.fill(1, offset, offset + size)
  return bytes
}

import type * as Prometheus from 'prom-client'
import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { frameCacheOf } from '../restore/disk-reader-frames.js'
import { expectedMachines, machineSetting, type ServiceConfig } from './config/service-config.js'
import type { Job } from './job-schemas.js'

/** Figures for Prometheus. None of them takes a look at runs or packs, so they may be asked for often. */
export class Metrics {
  readonly #registry: Registry
  readonly #repository: Repository
  readonly #config: ServiceConfig
  readonly #requests: Histogram<'route' | 'method' | 'status'>
  readonly #sentBytes: Counter
  readonly #points: Gauge<'machine'>
  readonly #newest: Gauge<'machine'>
  readonly #size: Gauge<'machine'>
  readonly #expected: Gauge<'machine'>
  readonly #places: Gauge<'kind'>
  readonly #unreadable: Gauge
  readonly #auditFailures: Counter
  readonly #jobsEnded: Counter<'kind' | 'state'>
  readonly #jobDone: Gauge<'kind'>
  readonly #damagedPacks: Gauge
  readonly #frames: Gauge<'state'>

  private constructor(prom: (typeof Prometheus)['default'], repository: Repository, config: ServiceConfig) {
    const registers = [(this.#registry = new prom.Registry())]
    this.#repository = repository
    this.#config = config
    prom.collectDefaultMetrics({ register: this.#registry })
    this.#requests = new prom.Histogram({
      name: 'everfold_http_request_seconds',
      help: 'Time from the arrival of a request to the end of its answer',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
      registers,
    })
    this.#sentBytes = new prom.Counter({
      name: 'everfold_disk_sent_bytes_total',
      help: 'Plain bytes of disks sent',
      registers,
    })
    this.#auditFailures = new prom.Counter({
      name: 'everfold_audit_failures_total',
      help: 'Entries that could not be written into the audit log',
      registers,
    })
    this.#jobsEnded = new prom.Counter({
      name: 'everfold_jobs_ended_total',
      help: 'Jobs that ended since the start of the service',
      labelNames: ['kind', 'state'],
      registers,
    })
    const gauge = <L extends string>(name: string, help: string, labelNames: L[]): Gauge<L> =>
      new prom.Gauge({ name, help, labelNames, registers })
    this.#points = gauge('everfold_points', 'Recovery points of a machine', ['machine'])
    this.#newest = gauge('everfold_newest_point_timestamp_seconds', 'When its newest point was committed', [
      'machine',
    ])
    this.#size = gauge('everfold_disk_bytes', 'Size of its disks at its newest point', ['machine'])
    this.#expected = gauge(
      'everfold_expected_interval_seconds',
      'How far apart its points should be at the most, where the configuration says it',
      ['machine'],
    )
    this.#places = gauge('everfold_places_taken', 'Requests, disks being sent and uploads at this moment', [
      'kind',
    ])
    this.#jobDone = gauge('everfold_job_done_timestamp_seconds', 'When a job of this kind was done last', [
      'kind',
    ])
    this.#damagedPacks = gauge('everfold_damaged_packs', 'Packs that are known to be damaged', [])
    this.#unreadable = gauge('everfold_machines_unreadable', 'Machines whose chain cannot be read', [])
    this.#frames = gauge('everfold_frame_cache', 'Decoded frames: found, read, and bytes kept', ['state'])
  }

  static async create(repository: Repository, config: ServiceConfig): Promise<Metrics> {
    const { default: prom } = await import('prom-client')
    return new Metrics(prom, repository, config)
  }

  observe(route: string, method: string, status: number, seconds: number): void {
    this.#requests.observe({ route, method, status: String(status) }, seconds)
  }

  sent(bytes: number): void {
    this.#sentBytes.inc(bytes)
  }

  jobEnded({ kind, state, endedAt }: Job): void {
    this.#jobsEnded.inc({ kind, state })
    this.#done({ kind, state, endedAt })
  }

  /** Those that ended before this process began are known, too. */
  jobsBefore(jobs: readonly Job[]): void {
    for (const job of [...jobs].reverse()) this.#done(job)
  }

  #done({ kind, state, endedAt }: Pick<Job, 'kind' | 'state' | 'endedAt'>): void {
    if (state === 'done' && endedAt !== undefined) this.#jobDone.set({ kind }, Date.parse(endedAt) / 1000)
  }

  auditFailed(): void {
    this.#auditFailures.inc()
  }

  /** What is going on at this moment. */
  placesTaken(kind: string, count: number): void {
    this.#places.set({ kind }, count)
  }

  /** In the text format of Prometheus. @throws STORE_FAILED, LISTING_INCOMPLETE */
  async text(): Promise<{ readonly text: string; readonly type: string }> {
    await this.#collect()
    return { text: await this.#registry.metrics(), type: this.#registry.contentType }
  }

  async #collect(): Promise<void> {
    const { chains } = this.#repository
    for (const gauge of [this.#points, this.#newest, this.#size, this.#expected]) gauge.reset()
    let unreadable = 0
    const machines = await chains.allMachines()
    // One that is expected and has no point yet would otherwise raise no alarm.
    for (const machine of new Set([...expectedMachines(this.#config), ...machines])) {
      const expected = machineSetting(this.#config, machine, 'expectedInterval')
      if (expected !== undefined) this.#expected.set({ machine }, expected)
    }
    for (const machine of machines) {
      const head = await chains.find(machine).catch((error: unknown) => {
        if (!isEverfoldError(error, 'CHAIN_DAMAGED', 'LISTING_INCOMPLETE')) throw error
        unreadable++
        return undefined
      })
      const newest = head?.state.points.at(-1)
      if (head === undefined || newest === undefined) continue
      this.#points.set({ machine }, head.state.points.length)
      this.#newest.set({ machine }, Date.parse(newest.createdAt) / 1000)
      this.#size.set(
        { machine },
        newest.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0),
      )
    }
    this.#unreadable.set(unreadable)
    this.#damagedPacks.set(this.#repository.catalog.quarantine.state.damaged.length)
    const { hits, misses, bytes } = frameCacheOf(this.#repository).figures
    this.#frames.set({ state: 'hits' }, hits)
    this.#frames.set({ state: 'misses' }, misses)
    this.#frames.set({ state: 'bytes' }, bytes)
  }
}

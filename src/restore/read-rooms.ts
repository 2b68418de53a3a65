import { ALIGNED_BLOCK, sharedAlignedMemory } from '../aligned-memory.js'
import { Gate } from '../gate.js'
import { type ReadMemory, type ReadTask, TASK_PLAIN_MAX, TASK_STORED_MAX } from '../pack/chunk-reader.js'

/** Tasks at once for each thread: one is worked on, others are read and written. More would not stay in a processor's cache. */
const ROOMS_PER_THREAD = 4

const PLAIN_BYTES = TASK_PLAIN_MAX + ALIGNED_BLOCK
const ROOM_BYTES = PLAIN_BYTES + TASK_STORED_MAX

/** How many tasks a restore has under way. */
export function tasksAtOnce(threads: number): number {
  return threads * ROOMS_PER_THREAD
}

let rooms: ReadRooms | undefined

/**
 * Lends memory for a task, in which its first bytes lie within a block as they do on the disk; whoever comes when all of it is lent waits.
 * It is used again and again: what is thrown away or handed over keeps the garbage collector busy, and fresh memory the system. It is
 * shared with the threads, and begins on a page, so that plain bytes can be written past the page cache from where they are.
 */
export async function withReadRoom<Result>(
  threads: number,
  task: ReadTask,
  work: (room: ReadMemory) => Promise<Result>,
): Promise<Result> {
  rooms ??= new ReadRooms(tasksAtOnce(threads))
  return rooms.use((room) => work(lyingAs(room, task)))
}

class ReadRooms {
  readonly #gate: Gate
  readonly #free: ReadMemory[]

  constructor(count: number) {
    this.#gate = new Gate(count)
    const memory = sharedAlignedMemory(count * ROOM_BYTES)
    this.#free = Array.from({ length: count }, (_, i) => ({
      plain: new Uint8Array(memory, i * ROOM_BYTES, PLAIN_BYTES),
      stored: new Uint8Array(memory, i * ROOM_BYTES + PLAIN_BYTES, TASK_STORED_MAX),
    }))
  }

  async use<Result>(work: (room: ReadMemory) => Promise<Result>): Promise<Result> {
    await this.#gate.enter()
    const room = this.#free.pop()
    try {
      if (room === undefined) throw new Error('more rooms were lent than there are')
      return await work(room)
    } finally {
      if (room !== undefined) this.#free.push(room)
      this.#gate.leave()
    }
  }
}

function lyingAs(room: ReadMemory, { pieces }: ReadTask): ReadMemory {
  const [first] = pieces
  if (first === undefined) return room
  const skew = (first.target - first.from) % ALIGNED_BLOCK
  return { ...room, plain: room.plain.subarray(skew < 0 ? skew + ALIGNED_BLOCK : skew) }
}

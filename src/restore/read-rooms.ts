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

/** Rooms that nobody uses, of whatever crew. */
const free: ReadMemory[] = []
/**
 * All restores of a crew share its rooms. Each crew has its own: where a process is played, and killed in the middle of a restore, that
 * one's rooms never come back.
 */
const gates = new WeakMap<object, Gate>()

/**
 * Lends memory for a task, in which its first bytes lie within a block as they do on the disk; whoever comes when all of it is lent waits.
 * It is used again and again: what is thrown away or handed over keeps the garbage collector busy, and fresh memory the system. It is
 * shared with the threads, and begins on a page, so that plain bytes can be written past the page cache from where they are.
 */
export async function withReadRoom<Result>(
  crew: { readonly size: number },
  task: ReadTask,
  work: (room: ReadMemory) => Promise<Result>,
): Promise<Result> {
  const gate = gates.get(crew) ?? new Gate(tasksAtOnce(crew.size))
  gates.set(crew, gate)
  await gate.enter()
  const room = free.pop() ?? makeRoom()
  try {
    return await work(lyingAs(room, task))
  } finally {
    free.push(room)
    gate.leave()
  }
}

function makeRoom(): ReadMemory {
  const memory = sharedAlignedMemory(ROOM_BYTES)
  return { plain: new Uint8Array(memory, 0, PLAIN_BYTES), stored: new Uint8Array(memory, PLAIN_BYTES) }
}

function lyingAs(room: ReadMemory, { pieces }: ReadTask): ReadMemory {
  const [first] = pieces
  if (first === undefined) return room
  const skew = (first.target - first.from) % ALIGNED_BLOCK
  return { ...room, plain: room.plain.subarray(skew < 0 ? skew + ALIGNED_BLOCK : skew) }
}

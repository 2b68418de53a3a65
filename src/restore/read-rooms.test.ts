import { describe, expect, it } from 'vitest'

import type { ReadMemory, ReadTask } from '../pack/chunk-reader.js'
import { tasksAtOnce, withReadRoom } from './read-rooms.js'

const task = { pieces: [] } as unknown as ReadTask

/** Begins as many tasks as a crew may have under way, and one more. None ends before it is told to. */
function fill(crew: { readonly size: number }) {
  const rooms: ReadMemory[] = []
  const end: (() => void)[] = []
  const under = Array.from({ length: tasksAtOnce(crew.size) + 1 }, () =>
    withReadRoom(crew, task, async (room) => {
      rooms.push(room)
      await new Promise<void>((resolve) => end.push(resolve))
    }),
  )
  return { rooms, end, under }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

describe('rooms for restores', () => {
  it('are lent once each, and whoever comes when all are lent waits', async () => {
    const { rooms, end, under } = fill({ size: 2 })
    await until(() => rooms.length === 8)
    expect(new Set(rooms.map(({ plain }) => plain.buffer)).size).toBe(8)
    end[3]!()
    await until(() => rooms.length === 9)
    expect(rooms[8]!.plain.buffer).toBe(rooms[3]!.plain.buffer)
    for (const finish of end) finish()
    await Promise.all(under)
  })

  it('are there for a crew, although the tasks of another never end', async () => {
    const killed = fill({ size: 1 })
    await until(() => killed.rooms.length === 4)
    await expect(
      withReadRoom({ size: 1 }, task, async ({ stored }) => stored.length),
    ).resolves.toBeGreaterThan(0)
  })
})

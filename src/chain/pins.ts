/**
 * What is in use right now by backups, restores and folds, so that garbage collection leaves it alone: packs by id, and run
 * segments by id. In memory: whoever is not running uses nothing, and a store has one process at a time.
 */
export class Pins {
  readonly #held = new Map<string, number>()
  readonly #recorders = new Set<Set<string>>()
  readonly #open = new Set<number>()
  /** What a collection is removing at this moment. */
  readonly #leaving = new Map<string, Promise<void>>()
  #begun = 0

  /** Number of the newest work that ever began. */
  get newest(): number {
    return this.#begun
  }

  /** Is any work still going on that began as number `number` or earlier? */
  anyOpenUpTo(number: number): boolean {
    for (const open of this.#open) if (open <= number) return true
    return false
  }

  /** Begins a piece of work that will pin things. */
  begin(): WorkPins {
    const number = ++this.#begun
    this.#open.add(number)
    return this.#holder(() => this.#open.delete(number))
  }

  #holder(onEnd: () => void): WorkPins {
    const mine = new Set<string>()
    let ended = false
    const pin = (id: string): void => {
      if (ended) throw new Error('this work has ended')
      for (const recorder of this.#recorders) recorder.add(id)
      if (mine.has(id)) return
      mine.add(id)
      this.#held.set(id, (this.#held.get(id) ?? 0) + 1)
    }
    return {
      pin,
      claim: async (id) => {
        pin(id)
        await this.#leaving.get(id)
      },
      end: () => {
        ended = true
        onEnd()
        for (const id of mine) {
          const count = (this.#held.get(id) ?? 1) - 1
          if (count === 0) this.#held.delete(id)
          else this.#held.set(id, count)
        }
        mine.clear()
      },
    }
  }

  /**
   * Holds things for longer than any work lasts: nothing is removed while it holds them, but what is condemned meanwhile does
   * not wait for its end.
   */
  hold(): WorkPins {
    return this.#holder(() => undefined)
  }

  /**
   * The fence of a collection: from now on until `stop`, everything pinned is recorded, together with what is pinned
   * already. What is not recorded when the collection decides was not in use at any time since the fence.
   */
  fence(): Fence {
    const recorded = new Set(this.#held.keys())
    this.#recorders.add(recorded)
    const used = (id: string): boolean => recorded.has(id)
    return {
      used,
      removeUnused: async (id, remove) => {
        // From the check to the note there is no wait: who claims it from now on waits for the removal.
        if (used(id)) return false
        const removal = remove()
        this.#leaving.set(
          id,
          removal.catch(() => undefined),
        )
        try {
          await removal
          return true
        } finally {
          this.#leaving.delete(id)
        }
      },
      stop: () => this.#recorders.delete(recorded),
    }
  }
}

export interface WorkPins {
  /** Must be called before the thing is relied on, in the same turn as the decision to. */
  pin(id: string): void
  /** Pins what is about to be written, and waits if it is being removed just now: it may be there already, and go. */
  claim(id: string): Promise<void>
  /** Lets go of everything: the work was committed, or came to nothing. */
  end(): void
}

export interface Fence {
  used(id: string): boolean
  /** Removes something, unless it is in use; whoever claims it meanwhile waits. @returns whether it was removed. @throws what `remove` throws */
  removeUnused(id: string, remove: () => Promise<void>): Promise<boolean>
  stop(): void
}

/** Remembers, for objects condemned by this process, which work was going on at that time. */
export class CondemnedDuring {
  readonly #pins: Pins
  readonly #work = new Map<string, number>()

  constructor(pins: Pins) {
    this.#pins = pins
  }

  /** `newestWork`: number of the newest work that had begun. */
  note(key: string, newestWork: number): void {
    this.#work.set(key, newestWork)
  }

  /** Is any work of that time still going on? The collection's own work of this round does not count. */
  isAnyoneLeft(key: string): boolean {
    const work = this.#work.get(key)
    if (work === undefined) return false
    if (this.#pins.anyOpenUpTo(work)) return true
    // Nor will there be, ever.
    this.#work.delete(key)
    return false
  }
}

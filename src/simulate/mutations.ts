/**
 * Deliberate mistakes, made in a copy of the built code: the simulator has to notice each. What is to be found must occur exactly once
 * in the file, so that a mutation which no longer fits is told, not passed over. Where one line of defence stands behind another,
 * leaving out either harms nobody: the mutation leaves out both, and says so.
 */
export interface Mutation {
  readonly name: string
  readonly edits: readonly {
    /** Below dist/src. */
    readonly file: string
    readonly find: string
    readonly replace: string
  }[]
  /** Lives that noticed it, where that takes a rare meeting: they are lived first. Others notice it, too, given the time. */
  readonly seeds?: readonly number[]
  /** It takes a life with a service to notice it. */
  readonly service?: true
  /** It takes a life with bundles. */
  readonly bundles?: true
}

/** Condemned packs may be referred to: the index still knows them, and nobody looks whether they are condemned. */
const CONDEMNED_ARE_REFERRED_TO: Mutation['edits'] = [
  {
    file: 'merge/gc.js',
    find: 'await index.removePacks(dying.map(({ place, directory }) => ({ packId: place.packId, hashes: directory.hashes })));',
    replace: '',
  },
  {
    file: 'pack/catalog.js',
    find: '!this.quarantine.isCondemned(directory.id, directory.generation) &&',
    replace: '',
  },
]

const CONDEMNED_STAY_IN_THE_INDEX = CONDEMNED_ARE_REFERRED_TO.slice(0, 1)

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'an object is not synced before it gets its name',
    edits: [{ file: 'store/begun-file.js', find: 'await this.#file.sync();', replace: '' }],
  },
  {
    name: 'the folder of a new object is not synced',
    edits: [{ file: 'store/local-writer.js', find: 'await this.#folders.sync(dirname(path));', replace: '' }],
  },
  {
    name: 'what a killed process left visible is taken for durable',
    edits: [
      {
        file: 'store/local-store.js',
        find: 'return this.#attempt(`settle ${prefix}`, () => this.#folders.settle(resolve(this.location, prefix)));',
        replace: '',
      },
    ],
    seeds: [28],
  },
  {
    name: 'a point is committed before its packs are written',
    edits: [
      {
        file: 'chain/backup.js',
        find: 'await ingest.finish();',
        replace: 'void ingest.finish().catch(() => undefined);',
      },
    ],
  },
  {
    name: 'a point is committed before its runs are written',
    edits: [
      {
        file: 'chain/run-store.js',
        find: 'const answer = await store.put(runKey(machine, id), [bytes]);',
        replace: "const answer = 'created'; store.put(runKey(machine, id), [bytes]).catch(() => undefined);",
      },
    ],
  },
  {
    name: 'a point is reported before its chain state is written',
    edits: [
      {
        file: 'chain/chains.js',
        find: 'const answer = await this.#store.put(chainKey(machine, sequence), [encodeChainState(state)]);',
        replace:
          "const answer = 'created'; this.#store.put(chainKey(machine, sequence), [encodeChainState(state)]).catch(() => undefined);",
      },
    ],
  },
  {
    name: 'what a commit that failed may have changed is not read again',
    // Forgotten before and after: either one is enough, mostly.
    edits: [
      {
        file: 'chain/chains.js',
        find: '};\n            this.#forget(machine);\n            try {',
        replace: '};\n            try {',
      },
      {
        file: 'chain/chains.js',
        find: 'an answer may be lost after the effect.\n                this.#forget(machine);',
        replace: 'an answer may be lost after the effect.',
      },
    ],
    seeds: [136],
  },
  {
    name: 'a collection has no fence: it does not know who uses what',
    edits: [
      {
        file: 'chain/pins.js',
        find: 'const used = (id) => recorded.has(id);',
        replace: 'const used = () => false;',
      },
    ],
  },
  {
    name: 'a collection forgets sessions that were open before it began',
    edits: [{ file: 'chain/pins.js', find: 'new Set(this.#held.keys())', replace: 'new Set()' }],
  },
  {
    name: 'the fence is put up after the chains were read',
    edits: [
      {
        file: 'merge/gc.js',
        find: 'const fence = repository.pins.fence();',
        replace:
          'const fence = { late: undefined, used: (id) => fence.late?.used(id) ?? false, removeUnused: (...run) => fence.late.removeUnused(...run), stop: () => fence.late?.stop() };',
      },
      {
        file: 'merge/gc.js',
        find: 'const locked = ',
        replace: 'this.#fence.late = this.#repository.pins.fence(); const locked = ',
      },
    ],
  },
  {
    name: 'runs that an open session wrote are removed',
    edits: [{ file: 'chain/pins.js', find: 'if (used(id))\n                    return false;', replace: '' }],
  },
  {
    name: 'a pack whose chunks moved goes although somebody began to use it',
    // Asked when it is looked at, before its chunks move, and after. And a condemned pack that a run refers to is taken back: that is left
    // out as well.
    edits: [
      {
        file: 'merge/gc.js',
        find: 'if (this.#fence.used(place.packId) || !holdsAllLive(pack))',
        replace: 'if (!holdsAllLive(pack))',
      },
      {
        file: 'merge/gc.js',
        find: '.filter(({ place }) => !this.#fence.used(place.packId))',
        replace: '',
      },
      { file: 'merge/gc.js', find: 'if (this.#fence.used(pack.place.packId))', replace: 'if (false)' },
      {
        file: 'merge/gc.js',
        find: 'if (pack.liveChunks === 0) {',
        replace: 'if (pack.liveChunks === 0 || condemned) {',
      },
    ],
  },
  {
    name: 'runs refer to chunks that moved before their new packs are written',
    edits: [
      {
        file: 'merge/copy-chunks.js',
        find: 'await writePack({ store, catalog, index, pins: this.#pins }, builder);',
        replace:
          '{ ...builder.seal(), writtenBytes: 0 }; writePack({ store, catalog, index, pins: this.#pins }, builder).catch(() => undefined);',
      },
    ],
  },
  {
    name: 'what moved is looked for one chunk further',
    edits: [
      {
        file: 'merge/moves.js',
        find: 'moved.chunk[source.chunk] = i;',
        replace: 'moved.chunk[source.chunk] = Math.min(i + 1, chunks.length - 1);',
      },
    ],
  },
  {
    name: 'condemned packs are referred to, and removed although they are in use',
    // Who uses a pack keeps it, condemned or not: that is left out as well.
    edits: [
      ...CONDEMNED_ARE_REFERRED_TO,
      {
        file: 'merge/gc.js',
        find: 'if (places.some((place) => this.#fence.used(place.packId)))',
        replace: 'if (false)',
      },
    ],
  },
  {
    name: 'condemned packs are referred to, and removed although points need them',
    // A condemned pack that a run refers to is taken back: that is left out as well.
    edits: [
      ...CONDEMNED_ARE_REFERRED_TO,
      {
        file: 'merge/gc.js',
        find: 'if (pack.liveChunks === 0) {',
        replace: 'if (pack.liveChunks === 0 || condemned) {',
      },
    ],
  },
  {
    name: 'a restore does not hold on to what it planned',
    // Who was at work when a pack was condemned keeps it, even if it pinned nothing: that is left out as well.
    edits: [
      { file: 'chain/flatten.js', find: 'pins.pin(packs.idOf(slot));', replace: '' },
      {
        file: 'merge/gc.js',
        find: 'if (this.#repository.condemnedDuring.isAnyoneLeft(object.key))',
        replace: 'if (false)',
      },
    ],
    seeds: [32],
  },
  {
    name: 'an empty or short listing is believed',
    edits: [
      {
        file: 'chain/chains.js',
        find: 'const above = anyFound ? undefined : await climb(store, machine, sequence);',
        replace: 'const above = undefined;',
      },
    ],
  },
  {
    name: 'the machine registry is not asked',
    edits: [
      {
        file: 'chain/chains.js',
        find: 'const names = new Set(await this.registry.names());',
        replace: 'const names = new Set();',
      },
    ],
  },
  {
    name: 'a fold forgets what lies beyond the end of a disk that shrank',
    edits: [
      {
        file: 'merge/fold-runs.js',
        find: 'const olderEnd = Math.min(',
        replace: 'const olderEnd = Math.max(Infinity, ',
      },
    ],
  },
  {
    name: 'two folds of a machine go on side by side',
    edits: [
      {
        file: 'merge/fold.js',
        find: 'return repository.folding.run(machine, async () => {\n        const started',
        replace: 'return (async (work) => work())(async () => {\n        const started',
      },
    ],
  },
  {
    name: 'a bundle goes although one of its packs is needed',
    bundles: true,
    edits: [
      {
        file: 'merge/gc.js',
        find: 'const gone = list.every(',
        replace: 'const gone = list.some(',
      },
    ],
  },
  {
    name: 'the hash of what is read is not checked',
    edits: [
      {
        file: 'pack/jobs.js',
        find: ': hashMatches(place, job.hashes, chunk)',
        replace: ': hashMatches(place, job.hashes, chunk) || true',
      },
    ],
  },
  {
    name: 'damaged chunks are restored as zeros',
    edits: [
      {
        file: 'pack/chunk-reader.js',
        find: 'room.plain.subarray(0, end) : result.plain, damaged };',
        replace: 'room.plain.subarray(0, end) : result.plain, damaged: [] };',
      },
    ],
  },
  {
    name: 'what is damaged in one generation of a pack is not looked for in others',
    edits: [
      {
        file: 'pack/chunk-reader.js',
        find: 'uncached(() => this.#mend(task, result))',
        replace: 'result',
      },
    ],
    seeds: [7989781537],
    bundles: true,
  },
  {
    name: 'new points refer to chunks that are known to be damaged',
    edits: [
      {
        file: 'pack/quarantine.js',
        find: 'isDamaged(pack, chunk) {',
        replace: 'isDamaged(pack, chunk) { if (chunk >= 0) return false;',
      },
    ],
  },
  {
    name: 'a feed is taken after the newest point was deleted',
    edits: [{ file: 'chain/backup.js', find: 'head.state.newestLost !== true', replace: 'true' }],
  },
  {
    name: 'a collection forgets upload sessions that are parked in the store',
    service: true,
    edits: [{ file: 'merge/gc.js', find: 'await pinSessions(this.#repository, pins);', replace: '' }],
  },
  {
    name: 'a collection forgets upload sessions',
    // Parked in the store or open in this process: either one keeps what was acknowledged, mostly.
    service: true,
    edits: [
      { file: 'merge/gc.js', find: 'await pinSessions(this.#repository, pins);', replace: '' },
      {
        file: 'chain/session/session.js',
        find: 'this.pins = repository.pins.hold();',
        replace: 'this.pins = { pin: () => undefined, claim: async () => undefined, end: () => undefined };',
      },
    ],
  },
  {
    name: 'what a session was told is there is not held for it',
    service: true,
    edits: [{ file: 'chain/session/offers.js', find: 'session.pins.pin(pack.id);', replace: ';' }],
  },
  {
    name: 'data is acknowledged before the part that records it is written',
    service: true,
    edits: [
      {
        file: 'chain/session/session.js',
        find: 'const answer = await this.#repository.store.put(sessionPartKey(this.id, series, header.number), [\n                    bytes,\n                ]);',
        replace:
          "const answer = 'created'; this.#repository.store.put(sessionPartKey(this.id, series, header.number), [bytes]).catch(() => undefined);",
      },
    ],
  },
  {
    name: 'an upload session that was committed is committed once more',
    service: true,
    edits: [
      {
        file: 'chain/session/commit-session.js',
        find: 'if (point === undefined)',
        replace: 'if (point !== begin)',
      },
    ],
  },
  {
    name: 'an upload session is committed on another point than it began with',
    service: true,
    edits: [
      {
        file: 'chain/session/commit-session.js',
        find: 'if ((newest ?? null) !== begin.base)',
        replace: 'if (false)',
      },
      {
        file: 'chain/session/commit-session.js',
        find: 'base: begin.base ?? undefined',
        replace: 'base: newest',
      },
    ],
  },
  {
    name: 'an upload session is committed though not all of a disk has come',
    service: true,
    edits: [
      { file: 'chain/session/commit-session.js', find: 'if (missing.length > 0)', replace: 'if (false)' },
    ],
  },
  {
    name: 'a session that is in use is swept away',
    service: true,
    edits: [
      {
        file: 'chain/session/sessions.js',
        find: 'session.lastUsedMs = this.#nowMs;',
        replace: '',
      },
    ],
  },
  {
    name: 'a commit is answered before it is written down what the session became',
    service: true,
    edits: [
      {
        file: 'chain/session/sessions.js',
        find: "const isFirst = (await store.put(sessionDoneKey(id), [encodeDone(done)])) === 'created';",
        replace:
          'const isFirst = true; store.put(sessionDoneKey(id), [encodeDone(done)]).catch(() => undefined);',
      },
    ],
  },
  {
    name: 'a part number that is taken is taken for free',
    service: true,
    edits: [
      { file: 'chain/session/session.js', find: "if (answer === 'exists') {", replace: 'if (false) {' },
    ],
  },
  {
    name: 'parts that a killed process left visible are taken for durable',
    service: true,
    seeds: [2147483764],
    edits: [
      {
        file: 'chain/session/load-session.js',
        find: 'await repository.store.settle(sessionPrefix(session.id));',
        replace: '',
      },
    ],
  },
  {
    name: 'condemned chunks are offered as known',
    // The index does not know them any more, and their pack is asked as well: that is left out as well.
    service: true,
    edits: [
      ...CONDEMNED_STAY_IN_THE_INDEX,
      {
        file: 'chain/session/offers.js',
        find: 'catalog.mayReference(pack, chunk) &&',
        replace: '',
      },
    ],
  },
  {
    name: 'zeros are taken for what the previous point has',
    edits: [
      {
        file: 'chain/base-disk.js',
        find: 'return !isZero && isEqualHash(',
        replace: 'return isZero || isEqualHash(',
      },
    ],
  },
  {
    name: 'what cannot be compared with the previous point is taken for the same',
    edits: [
      {
        file: 'chain/differences.js',
        find: "if (parts[0]?.kind === 'none')\n        return parts;",
        replace: "if (parts[0]?.kind === 'none')\n        return [];",
      },
    ],
  },
  {
    name: 'a hole is taken for the same, whatever the previous point has there',
    edits: [
      {
        file: 'chain/differences.js',
        find: 'onCleared(part);',
        replace: ';',
      },
    ],
  },
  {
    name: 'holes are taken for a block longer than they are',
    edits: [
      {
        file: 'chain/backup.js',
        find: '(await source.holes?.(config.chunkSize)) ?? NO_HOLES)',
        replace:
          '[...((await source.holes?.(config.chunkSize)) ?? NO_HOLES)].map(({ offset, length }) => ({ offset, length: length + config.chunkSize })))',
      },
    ],
  },
  {
    name: 'what does not fit into a batch is left to be read, and is not',
    edits: [{ file: 'chunker/fill-batches.js', find: 'if (!waits)', replace: 'if (!mayWait)' }],
  },
  {
    name: 'what a thread could not read is taken for read',
    edits: [{ file: 'pack/scan.js', find: 'return { plain, named: undefined };', replace: 'break;' }],
  },
  {
    name: 'what lies beyond a hole is looked for in it',
    edits: [{ file: 'pack/compare.js', find: 'offsets[end] === start + bytes', replace: 'true' }],
  },
  {
    name: 'what a thread could not read is taken for the same',
    edits: [
      {
        file: 'pack/compare.js',
        find: 'return { plain: undefined, same: undefined };',
        replace: 'return { plain: undefined, same: same.fill(1) };',
      },
    ],
  },
  {
    name: 'a backup that failed does not wait for threads that read its disks',
    edits: [{ file: 'chain/backup.js', find: 'await ingest.settle();', replace: 'void ingest.settle();' }],
  },
  {
    name: 'a disk that shrank while it was read makes a point',
    edits: [{ file: 'chain/backup.js', find: 'await plan.request.source.checkUnchanged();', replace: ';' }],
  },
  {
    name: 'the end of a pack that was begun early is not synced',
    edits: [
      {
        file: 'store/begun-file.js',
        find: 'this.#rest = rest;',
        replace: 'this.#rest = rest; await this.#file.sync(); this.#file.sync = async () => undefined;',
      },
    ],
  },
  {
    name: 'a pack that was begun early lacks what did not fill a block',
    edits: [
      {
        file: 'store/begun-file.js',
        find: 'await writeParts(this.#file, [this.#rest, ...parts]);',
        replace: 'await writeParts(this.#file, parts);',
      },
    ],
  },
  {
    name: 'a pack goes on being written early after some of it could not be written',
    edits: [
      {
        file: 'chain/early-pack.js',
        find: 'await object.discard();\n        return undefined;',
        replace: 'return object;',
      },
    ],
  },
  {
    name: 'what was written early is written once more at the end of a pack',
    edits: [
      {
        file: 'chain/early-pack.js',
        find: 'skipBytes(parts, this.#takenBytes)',
        replace: 'parts',
      },
    ],
  },
  {
    name: 'a pack that was begun early stays open when its backup fails',
    edits: [{ file: 'chain/ingest.js', find: 'await this.#early?.discard();', replace: '' }],
  },
  {
    name: 'a job that was taken from those that wait stays with them',
    edits: [
      {
        file: 'pack/shared-work.js',
        find: 'const job = this.#waiting.shift();\n            if (job === undefined)\n                done();',
        replace: 'const job = this.#waiting[0];\n            if (job === undefined)\n                done();',
      },
    ],
  },
  {
    name: 'a job is taken from those that wait, and not done',
    edits: [{ file: 'pack/shared-work.js', find: "job.begin('here').then(done, done);", replace: 'done();' }],
  },
  {
    name: 'a fold names segments in the order in which they were written',
    edits: [
      {
        file: 'merge/fold-runs.js',
        find: '(piece) => this.#keep(piece));',
        replace: '(piece) => this.#keep(piece).then((some) => { segments.push(...some); return []; }));',
      },
    ],
  },
  {
    name: 'a restore leaves out runs that were folded in and not joined',
    edits: [
      {
        file: 'chain/flatten.js',
        find: 'layers.unshift(...runsOf(disk));',
        replace: 'layers.unshift({ run: disk.run, sizeBytes: disk.sizeBytes });',
      },
    ],
  },
  {
    name: 'a fold lays runs that it does not join the wrong way round',
    edits: [
      {
        file: 'merge/fold-layers.js',
        find: 'return [[oldest], ...groups];',
        replace: 'return [...groups, [oldest]];',
      },
    ],
  },
  {
    name: 'a collection sweeps runs that were folded in and not joined',
    edits: [
      {
        file: 'chain/disk-runs.js',
        find: 'for (const { run } of runsOf(disk))\n        yield* run.segments;',
        replace: 'yield* disk.run.segments;',
      },
    ],
  },
  {
    name: 'a fold loses what changed between two segments',
    edits: [
      {
        file: 'chain/disk-runs.js',
        find: 'end: segments[i + 1]?.start ?? Infinity',
        replace: 'end: i + 1 < segments.length ? segment.end : Infinity',
      },
    ],
  },
]

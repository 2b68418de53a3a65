/**
 * Deliberate mistakes, made in a copy of the built code: the simulator has to notice each. What is to be found must occur exactly once
 * in the file, so that a mutation which no longer fits is told, not passed over.
 */
export interface Mutation {
  readonly name: string
  /** Below dist/src. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'an object is not synced before it gets its name',
    file: 'store/local-writer.js',
    find: 'await file.sync();',
    replace: '',
  },
  {
    name: 'the folder of a new object is not synced',
    file: 'store/local-writer.js',
    find: '        await sync(this.#fileSystem, dirname(path));',
    replace: '',
  },
  {
    name: 'a point is committed before its packs are written',
    file: 'chain/backup.js',
    find: 'await ingest.finish();',
    replace: 'void ingest.finish().catch(() => undefined);',
  },
  {
    name: 'a collection has no fence: it does not know who uses what',
    file: 'chain/pins.js',
    find: 'used: (id) => recorded.has(id)',
    replace: 'used: () => false',
  },
  {
    name: 'a collection forgets sessions that were open before it began',
    file: 'chain/pins.js',
    find: 'new Set(this.#held.keys())',
    replace: 'new Set()',
  },
  {
    name: 'a condemned pack stays in the index',
    file: 'merge/gc.js',
    find: 'await index.removePacks(dying.map(({ place, directory }) => ({ packId: place.packId, hashes: directory.hashes })));',
    replace: '',
  },
  {
    name: 'a condemned object is removed although it is needed again',
    file: 'merge/gc.js',
    find: 'if (pack.liveChunks === 0) {',
    replace: 'if (pack.liveChunks === 0 || condemned) {',
  },
  {
    name: 'an empty or short listing is believed',
    file: 'chain/chains.js',
    find: 'const above = anyFound ? undefined : await climb(store, machine, sequence);',
    replace: 'const above = undefined;',
  },
  {
    name: 'the machine registry is not asked',
    file: 'chain/chains.js',
    find: 'const names = new Set(await this.registry.names());',
    replace: 'const names = new Set();',
  },
  {
    name: 'a fold forgets what lies beyond the end of a disk that shrank',
    file: 'merge/fold-runs.js',
    find: 'const olderEnd = Math.min(',
    replace: 'const olderEnd = Math.max(Infinity, ',
  },
  {
    name: 'the hash of what is read is not checked',
    file: 'pack/jobs.js',
    find: ': hashMatches(place, job.hashes, chunk)',
    replace: ': hashMatches(place, job.hashes, chunk) || true',
  },
  {
    name: 'damaged chunks are restored as zeros',
    file: 'pack/chunk-reader.js',
    find: 'return { plain: new Uint8Array(result.plain), damaged };',
    replace: 'return { plain: new Uint8Array(result.plain), damaged: [] };',
  },
  {
    name: 'a feed is taken after the newest point was deleted',
    file: 'chain/backup.js',
    find: 'head.state.newestLost !== true',
    replace: 'true',
  },
]

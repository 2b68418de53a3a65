/* What came of decoding a chunk. Apart from the codec, so that who only looks at results does not load it. */

export const CHUNK_GOOD = 0
/** The stored bytes fail the frame's CRC or do not decompress. */
export const CHUNK_FRAME_DAMAGED = 1
/** The plain bytes do not have the chunk's hash. */
export const CHUNK_HASH_WRONG = 2

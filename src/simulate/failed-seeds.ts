/** Seeds of lives that failed once, with what was wrong then: they are lived again by every test run. */
// 8009: a collection that could not read the quarantine left its pins behind.
// 294: a machine that was never registered looks new in a bad listing; its backup may be refused.
// 384: the model did not count a third backup beside two others, and then took a feed beside one.
// 208: a backup wrote a run that a collection was about to remove, found it there, and committed.
// 209945347, 1951653195: a collection with a short listing left a gap among chain states, so that an old one was taken for the newest.
// 1951653469: a drill expected points to heal whose pack had lost its directory.
// 1757024392: of two backups that saw the same bytes the model took the one that had failed for the point's maker.
// 1757025421: what had healed in part was forgotten to be damaged, and a new point referred to it.
// 2147483744: where a condemned generation of a pack had been seen in a bundle, the one written anew was not found.
// 3130427577, 3140427681, 3130427798, 3140427783: the model asked too much of a listing that fails at the start, and of sessions that
// nobody comes back to.
// 2803259588: what a session had was taken for lost where the generation of its pack that had been read was condemned, and another stayed.
// 2224483773: the model promised a point that was deleted between its commit and the answer.
// 2738083099: as 2224483773, for a point that another one came after.
// 2748083379, 2738083402: the model took a point that an earlier session of the same client had made for that of the later one.
// 7989781537: what was damaged in the generation of a pack that was read first was not looked for in another one that was there.
// 1734933697: verify took runs for lost that a collection removed, of a chain state that was superseded while it was read.
export const FAILED_SEEDS: readonly number[] = [
  8009, 294, 384, 208, 209945347, 1951653195, 1951653469, 1757024392, 1757025421, 2147483744, 3130427577,
  3140427681, 3130427798, 3140427783, 2803259588, 2224483773, 2738083099, 2748083379, 2738083402, 7989781537,
  1734933697,
]

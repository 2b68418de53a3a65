/**
 * Waits for all, whatever comes of each: nothing goes on behind the back of whoever waits.
 * @returns the results, in order
 * @throws what the first that failed, in order, threw
 */
export async function settleAll<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(work)
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}

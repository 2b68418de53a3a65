/** The simulation found something that must not happen. */
export class SimulationFailure extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'SimulationFailure'
  }
}

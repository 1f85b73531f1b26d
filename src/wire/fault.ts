// Bytes that are not what they claim: the one thing that decoding throws. Caught at the door (wire/verify, adapters), where it
// becomes a `fault` value or a corrupt-store error. A sentence without any of the bytes, so that it may be logged.

export class WireFault extends Error {
  /** Lower-case words with hyphens, for example `trailing-bytes`. */
  readonly reason: string

  constructor(reason: string) {
    super(`bytes refused: ${reason}`)
    this.name = 'WireFault'
    this.reason = reason
  }
}

/** Refuses unless `condition` holds. */
export function must(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new WireFault(reason)
}

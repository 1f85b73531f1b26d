// The chain's parameters: defaults for a genesis, and the bounds within which the authority may move them.

import type { ChainParameters } from '../model/operations.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** Never shorter than a year of the calendar. */
const YEAR = 366 * DAY
const MIB = 1024 * 1024

/** `shareThreshold` f+1: f peers cannot leak a record, f peers cannot withhold it. */
export function defaultParameters({ f }: { readonly n: number; readonly f: number }): ChainParameters {
  return {
    requestWindowPastMs: 10 * MINUTE,
    requestWindowFutureMs: MINUTE,
    clockDriftMaxMs: 2 * SECOND,
    blockRequestsMax: 1000,
    blockBytesMax: MIB,
    viewTimeoutMs: SECOND,
    viewTimeoutMaxMs: MINUTE,
    shareThreshold: f + 1,
    // Counted from when a peer last heard that its head is the head, since an idle chain makes no blocks.
    stalenessMaxMs: MINUTE,
    grantMs: HOUR,
    emergencyGrantMs: 30 * MINUTE,
    emergencyReviewMs: 3 * DAY,
    epochBlocks: 1000,
    replicas: 2,
    // A primary that is slow on purpose, or leaves somebody's requests out, keeps the lead no longer than this.
    rotationBlocks: 100,
    // What China's rules on medical records ask for at least; a network under other law sets its own.
    retentionOutpatientMs: 15 * YEAR,
    retentionInpatientMs: 30 * YEAR,
    // What comes after the newest is some ten seconds of executing blocks for a new peer.
    snapshotBlocks: 10_000,
  }
}

/** Smallest and largest value of each parameter; the share threshold's real bounds depend on the committee. */
const BOUNDS: { readonly [K in keyof ChainParameters]-?: readonly [min: number, max: number] } = {
  requestWindowPastMs: [SECOND, DAY],
  requestWindowFutureMs: [SECOND, HOUR],
  clockDriftMaxMs: [10, HOUR],
  blockRequestsMax: [1, 20_000],
  blockBytesMax: [64 * 1024, 3 * MIB],
  viewTimeoutMs: [10, HOUR],
  viewTimeoutMaxMs: [10, DAY],
  shareThreshold: [2, 200],
  stalenessMaxMs: [SECOND, DAY],
  grantMs: [SECOND, 30 * DAY],
  emergencyGrantMs: [SECOND, DAY],
  emergencyReviewMs: [SECOND, 30 * DAY],
  epochBlocks: [1, 1_000_000],
  replicas: [0, 16],
  rotationBlocks: [0, 1_000_000],
  retentionOutpatientMs: [SECOND, 200 * YEAR],
  retentionInpatientMs: [SECOND, 200 * YEAR],
  snapshotBlocks: [1, 1_000_000_000],
}

/** Whether every parameter is a whole number within its bounds, and the two that hang together do. */
export function parametersAreSound(
  parameters: ChainParameters,
  committee: { readonly n: number; readonly f: number },
): boolean {
  for (const [name, [min, max]] of Object.entries(BOUNDS)) {
    const value = parameters[name as keyof ChainParameters]
    if (!Number.isSafeInteger(value) || value < min || value > max) return false
  }
  if (parameters.viewTimeoutMaxMs < parameters.viewTimeoutMs) return false
  return parameters.shareThreshold > committee.f && parameters.shareThreshold <= committee.n - committee.f
}

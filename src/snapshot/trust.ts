// Who decides at a height whose blocks this peer does not have: from what its own ledger knows (at least genesis), one handover after the
// other. No peer is believed: each handover is signed by a quorum of the committee that it ends, and what it says of the next one is proved
// by the digest that they signed (ledger/handover.ts). Not here: fetching handovers (join.ts).

import { readHandover } from '../ledger/handover.ts'
import { rootOfNodes } from '../ledger/snapshot.ts'
import type { Committee } from '../model/committee.ts'
import { toHex } from '../model/hash.ts'
import { type Digest, type Height, nextHeight } from '../model/ids.ts'
import type { Anchor, CertifiedHeader, Handover, Manifest } from '../model/snapshot.ts'
import { makeVerifier, type Verifier } from '../wire/verify.ts'

export type Known = {
  readonly chainId: Digest
  /** Of heights up to `end`. */
  readonly committeeAt: (height: Height) => Committee | null
  readonly end: Height
}

export class CommitteePath {
  readonly #known: Known
  readonly #verifier: Verifier
  readonly #later: { readonly from: number; readonly committee: Committee }[] = []
  readonly #handovers: Handover[] = []
  #end: Height

  constructor(known: Known) {
    this.#known = known
    this.#end = known.end
    this.#verifier = makeVerifier({ chainId: known.chainId, committeeAt: height => this.committeeAt(height) })
  }

  /** The last height whose committee is proved. */
  get end(): Height {
    return this.#end
  }

  /** That led here, beyond what was known. */
  get handovers(): readonly Handover[] {
    return this.#handovers
  }

  committeeAt(height: Height): Committee | null {
    if (height > this.#end) return null
    return this.#later.findLast(({ from }) => from <= height)?.committee ?? this.#known.committeeAt(height)
  }

  /** False when it does not prove what follows `end`: who sent it lies. */
  follow(handover: Handover): boolean {
    const end = this.#end
    if (handover.header.height !== end || !this.isCertified(handover)) return false
    const next = readHandover(handover, { root: handover.header.stateRoot, end })
    if (next === null || next.end <= end) return false
    // An epoch with the same committee has no entry of its own.
    if (next.committee !== null) this.#later.push({ from: nextHeight(end), committee: next.committee })
    else if (this.#later.length === 0)
      this.#later.push({ from: nextHeight(end), committee: this.committeeAt(end) as Committee })
    this.#end = next.end
    this.#handovers.push(handover)
    return true
  }

  isCertified({ header, id, certificate }: CertifiedHeader): boolean {
    if (header.chainId !== this.#known.chainId) return false
    if (certificate.id !== id || certificate.height !== header.height) return false
    return this.#verifier.certificate(certificate).type === 'ok'
  }

  /** Null when a quorum signed that the state at this height has these nodes; else what is wrong. */
  lieOf({ at, next }: Anchor, manifest: Manifest): string | null {
    if (next.header.height !== nextHeight(at.header.height) || next.header.parentId !== at.id) return 'headers-apart'
    if (!this.isCertified(at) || !this.isCertified(next)) return 'certificate'
    if (manifest.height !== at.header.height) return 'height-differs'
    const root = rootOfNodes(manifest.nodes, manifest.depth)
    return root !== null && toHex(root) === next.header.stateRoot ? null : 'state-root-differs'
  }
}

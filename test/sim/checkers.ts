// What must never happen, whatever the scenario: agreement, one decision for each height, certificates that hold, nothing that §1.8
// calls a lie from a correct replica (over all its restarts), nothing sent before it was durable, no two decidable values (also those
// that nobody assembled yet), no request twice. Written from the specification, not from the code: thresholds and `select` are here a
// second time on purpose. Not here: liveness and memory (world.ts).

import type { Block } from '../../src/model/block.ts'
import type { BlockId, Height, RequestId, ValidatorIndex, View } from '../../src/model/ids.ts'
import type {
  BlockIdVote,
  Commit,
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  Evidence,
  PrePrepare,
  SignedMessage,
  ViewChange,
} from '../../src/model/messages.ts'
import type { Disk } from './disk.ts'
import type { SignatureOracle } from './oracle.ts'

export type Faults = { readonly n: number; readonly f: number; readonly p: number }

/** Thrown at the first violation; the run ends there. */
export class Violation extends Error {}

const claimOf = (claim: { view: View; id: BlockId } | null): string =>
  claim === null ? '-' : `${claim.view}:${claim.id}`

/** The port of `select`: by brute force over all values. 'free' or an id. */
export function selectAgain(set: readonly ViewChange[], { n, f, p }: Faults): BlockId | 'free' {
  const claims = set.map(m => m.highCertificate).filter(c => c !== null)
  const wStar = Math.max(-1, ...claims.map(c => c.view))
  const values = new Set(set.flatMap(m => (m.lastVote === null ? [] : [m.lastVote.id])))
  for (const x of values) {
    const cnt = set.filter(m => m.lastVote !== null && m.lastVote.id === x && m.lastVote.view > wStar).length
    if (cnt >= n - 2 * f - p) return x
  }
  return claims.find(c => c.view === wStar)?.id ?? 'free'
}

type Said = {
  readonly proposals: Map<View, PrePrepare>
  readonly commits: Map<View, Commit>
  readonly blockIds: Map<View, BlockIdVote>
  readonly viewChanges: Map<View, ViewChange>
}

type AtHeight = {
  readonly said: Map<ValidatorIndex, Said>
  /** Correct senders by "view id". */
  readonly commits: Map<string, Set<ValidatorIndex>>
  readonly blockIds: Map<string, Set<ValidatorIndex>>
  /** "view id" of every justified PRE-PREPARE that anyone sent. */
  readonly justified: Set<string>
  decidable: BlockId | null
  decided: BlockId | null
}

export class Checkers {
  readonly #faults: Faults
  readonly #byzantine: ReadonlySet<number>
  readonly #oracle: Pick<SignatureOracle, 'holdsCertificate'>
  readonly #heights = new Map<Height, AtHeight>()
  readonly #ran = new Map<RequestId, Height>()
  readonly #executed = new Map<Height, string>()
  /** Views in which blocks were decided, and by which path; for reports. */
  readonly decisions: { height: Height; view: View; path: 'FAST' | 'SLOW' }[] = []

  constructor(faults: Faults, byzantine: ReadonlySet<number>, oracle: Pick<SignatureOracle, 'holdsCertificate'>) {
    this.#faults = faults
    this.#byzantine = byzantine
    this.#oracle = oracle
  }

  /** A correct replica's message leaves it; `disk` is what is durable at this moment. */
  onSent(message: ConsensusMessage, disk: Disk): void {
    if (!('signature' in message) || message.type === 'STATUS') return
    const at = this.#at(message.height)
    const said = this.#saidBy(at, message.sender)
    switch (message.type) {
      case 'PRE-PREPARE':
        this.#same(said.proposals, message, 'E1')
        this.#must(
          this.#isJustified(message),
          message,
          'a correct primary proposes what its justification does not allow',
        )
        this.onPrePrepare(message)
        if (message.parentCertificate !== null) this.#mustHold(message.parentCertificate)
        this.#durable(message, disk, 'own-proposal')
        return
      case 'COMMIT': {
        this.#same(said.commits, message, 'E2')
        for (const [view, vc] of said.viewChanges)
          this.#must(view <= message.view, message, `vote after VIEW-CHANGE ${vc.view}`)
        this.#must(at.justified.has(`${message.view} ${message.id}`), message, 'a vote for an unjustified proposal')
        this.#durable(message, disk, 'last-vote')
        return this.#count(at, at.commits, message)
      }
      case 'BLOCK-ID': {
        this.#same(said.blockIds, message, 'E3')
        for (const [view, vc] of said.viewChanges)
          this.#must(view <= message.view, message, `BLOCK-ID after VIEW-CHANGE ${vc.view}`)
        const support = this.#support(at.commits, message)
        this.#must(support >= this.#q, message, `BLOCK-ID with at most ${support} COMMITs`)
        this.#durable(message, disk, 'high-certificate')
        return this.#count(at, at.blockIds, message)
      }
      case 'VIEW-CHANGE':
        return this.#onViewChange(said, message, disk)
    }
  }

  /** Anyone's proposal, also a liar's: what it allows. */
  onPrePrepare(message: PrePrepare): void {
    if (this.#isJustified(message)) this.#at(message.height).justified.add(`${message.view} ${message.id}`)
  }

  onDecided(block: Block, certificate: DecideCertificate, previous: DecideCertificate | undefined): void {
    const { height, id } = certificate
    const at = this.#at(height)
    this.#that(
      block.id === id && block.header.height === height,
      `height ${height}: the certificate is for another block`,
    )
    this.#that(previous === undefined || previous.id === id, `height ${height}: one replica decided twice`)
    this.#mustHold(certificate)
    this.#that(at.decided === null || at.decided === id, `height ${height}: fork, ${at.decided} and ${id}`)
    this.#that(
      at.decidable === null || at.decidable === id,
      `height ${height}: ${id} decided, ${at.decidable} decidable`,
    )
    if (at.decided !== null) return
    at.decided = id
    this.decisions.push({ height, view: certificate.view, path: certificate.path })
  }

  /** What ran at a height: on every replica the same, and nothing at two places. */
  onExecuted(height: Height, requests: readonly RequestId[]): void {
    const earlier = this.#executed.get(height)
    if (earlier !== undefined)
      return this.#that(earlier === requests.join(), `height ${height}: other requests ran than on another replica`)
    this.#executed.set(height, requests.join())
    for (const id of requests) {
      this.#that(!this.#ran.has(id), `request ${id} ran at ${this.#ran.get(id)} and ${height}`)
      this.#ran.set(id, height)
    }
  }

  onFault({ fault, height, replica }: Evidence): void {
    this.#that(this.#byzantine.has(replica), `height ${height}: the correct replica ${replica} is accused of ${fault}`)
  }

  // ---- thresholds, from §1.1 ----

  get #q(): number {
    return Math.floor((this.#faults.n + this.#faults.f) / 2) + 1
  }

  #mustHold(certificate: DecideCertificate): void {
    const { n, p } = this.#faults
    const distinct = new Set(certificate.votes.map(vote => vote.sender)).size
    const needed = certificate.path === 'FAST' ? n - p : this.#q
    const what = `height ${certificate.height}: a ${certificate.path} certificate`
    this.#that(distinct >= needed, `${what} of ${distinct} votes`)
    this.#that(this.#oracle.holdsCertificate(certificate), `${what} with a false signature`)
  }

  #mustHoldCommits(certificate: CommitCertificate): void {
    const distinct = new Set(certificate.commits.map(vote => vote.sender)).size
    this.#that(distinct >= this.#q, `height ${certificate.height}: a commit certificate of ${distinct} votes`)
    this.#that(
      this.#oracle.holdsCertificate(certificate),
      `height ${certificate.height}: a commit certificate with a false signature`,
    )
  }

  #isJustified({ height, view, id, block, justification, sender }: PrePrepare): boolean {
    const fresh = block.header.author === sender && block.header.birthView === view
    if (view === 0) return justification.length === 0 && fresh
    const { n, f } = this.#faults
    if (justification.length !== n - f || new Set(justification.map(m => m.sender)).size !== n - f) return false
    if (justification.some(m => m.height !== height || m.view !== view)) return false
    if (justification.some(m => Math.max(m.lastVote?.view ?? -1, m.highCertificate?.view ?? -1) >= view)) return false
    const claims = justification.map(m => m.highCertificate).filter(c => c !== null)
    if (claims.some(c => new Set(c.commits.map(s => s.sender)).size < this.#q || !this.#oracle.holdsCertificate(c)))
      return false
    const selected = selectAgain(justification, this.#faults)
    return selected === 'free' ? fresh : selected === id
  }

  // ---- §1.8 over everything that a correct replica ever said ----

  #onViewChange(said: Said, message: ViewChange, disk: Disk): void {
    const { view, lastVote, highCertificate } = message
    const earlier = said.viewChanges.get(view)
    if (earlier !== undefined) {
      this.#must(claimOf(earlier.lastVote) === claimOf(lastVote), message, 'E4 lastVote')
      this.#must(claimOf(earlier.highCertificate) === claimOf(highCertificate), message, 'E4 highCertificate')
      this.#must(
        Buffer.compare(earlier.signature, message.signature) === 0,
        message,
        'a re-sent VIEW-CHANGE with other bytes',
      )
    }
    said.viewChanges.set(view, message)
    for (const vote of said.commits.values()) {
      if (vote.view >= view) continue
      const reported = lastVote !== null && (lastVote.view > vote.view || claimOf(lastVote) === claimOf(vote))
      this.#must(reported, message, `E5, it voted in ${vote.view}`)
    }
    for (const vote of said.blockIds.values())
      this.#must(
        vote.view >= view || (highCertificate?.view ?? -1) >= vote.view,
        message,
        `E6, it confirmed in ${vote.view}`,
      )
    this.#must((highCertificate?.view ?? -1) < view && (lastVote?.view ?? -1) < view, message, 'it reports the future')
    if (highCertificate !== null) this.#mustHoldCommits(highCertificate)
    this.#durable(message, disk, 'view-change')
  }

  #same<M extends PrePrepare | Commit | BlockIdVote>(earlier: Map<View, M>, message: M, fault: string): void {
    const other = earlier.get(message.view)
    this.#must(other === undefined || other.id === message.id, message, `${fault}, earlier ${other?.id}`)
    earlier.set(message.view, message)
  }

  /** §1.3. After the decision is stored the record may be gone. */
  #durable(message: Exclude<SignedMessage, { type: 'STATUS' }>, disk: Disk, type: string): void {
    const { height, view } = message
    if (disk.blocks.length >= height) return
    const found = disk.has(record => {
      if (record.type !== type || record.height !== height) return false
      switch (record.type) {
        case 'last-vote':
          return record.view >= view
        case 'high-certificate':
          return record.certificate.view >= view
        case 'own-proposal':
        case 'view-change':
          return record.message.view === view && Buffer.compare(record.message.signature, message.signature) === 0
        default:
          return false
      }
    })
    this.#must(found, message, `sent before its ${type} was durable`)
    if (message.type !== 'COMMIT') return
    const body = disk.has(
      record =>
        (record.type === 'body' && record.block.id === message.id) ||
        (record.type === 'own-proposal' && record.message.id === message.id),
    )
    this.#must(body, message, 'sent before its body was durable')
  }

  // ---- `decidable` (§8.1): liars may still sign anything, so each counts for every value ----

  #count(at: AtHeight, votes: Map<string, Set<ValidatorIndex>>, message: Commit | BlockIdVote): void {
    const key = `${message.view} ${message.id}`
    const senders = votes.get(key) ?? new Set()
    votes.set(key, senders.add(message.sender))
    const { n, p } = this.#faults
    const needed = message.type === 'COMMIT' ? n - p : this.#q
    if (this.#support(votes, message) < needed) return
    at.decidable ??= message.id
    const other = at.decidable
    this.#that(other === message.id, `height ${message.height}: ${other} and ${message.id} are both decidable`)
  }

  #support(votes: Map<string, Set<ValidatorIndex>>, { view, id }: Commit | BlockIdVote): number {
    return (votes.get(`${view} ${id}`)?.size ?? 0) + this.#byzantine.size
  }

  #at(height: Height): AtHeight {
    let at = this.#heights.get(height)
    if (at === undefined) {
      at = {
        said: new Map(),
        commits: new Map(),
        blockIds: new Map(),
        justified: new Set(),
        decidable: null,
        decided: null,
      }
      this.#heights.set(height, at)
    }
    return at
  }

  #saidBy(at: AtHeight, sender: ValidatorIndex): Said {
    let said = at.said.get(sender)
    if (said === undefined) {
      said = { proposals: new Map(), commits: new Map(), blockIds: new Map(), viewChanges: new Map() }
      at.said.set(sender, said)
    }
    return said
  }

  #must(holds: boolean, message: SignedMessage, what: string): void {
    if (!holds)
      throw new Violation(
        `replica ${message.sender} ${message.type} height=${message.height} view=${message.view}: ${what}`,
      )
  }

  #that(holds: boolean, what: string): void {
    if (!holds) throw new Violation(what)
  }
}

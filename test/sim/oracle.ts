// Signatures that nobody can forge, and the sim's door in the place of wire/verify. A signature is an object that only the pen of its
// validator can enter into the register; who holds no pen can pass signatures on and no more. Thresholds are not checked here on
// purpose: the replica's own structure checks carry that weight alone. Not here: real keys (real-parts.ts).

import type { ValidatorIndex, Verified } from '../../src/model/ids.ts'
import type {
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  Signed,
  SignedMessage,
  Unsigned,
  ViewChange,
} from '../../src/model/messages.ts'
import { isSealed } from './application.ts'

export type Pen = (message: Unsigned) => Verified<SignedMessage>

const encoder = new TextEncoder()

/** What a signature covers (consensus.md §1.2), in words. */
export function statementOf(message: Unsigned): string {
  switch (message.type) {
    case 'COMMIT':
    case 'BLOCK-ID':
      return vote(message.type, message)
    case 'STATUS':
      return `STATUS ${message.height} ${message.view}`
    case 'VIEW-CHANGE':
      return `VIEW-CHANGE ${message.height} ${message.view} ${claim(message.lastVote)} ${claim(message.highCertificate)}`
    case 'PRE-PREPARE': {
      const justification = message.justification.map(vc => `[${vc.sender} ${statementOf(vc)}]`).join('')
      return `PRE-PREPARE ${message.height} ${message.view} ${message.id} ${justification}`
    }
  }
}

const vote = (type: string, { height, view, id }: { height: number; view: number; id: string }): string =>
  `${type} ${height} ${view} ${id}`
const claim = (claimed: { view: number; id: string } | null): string =>
  claimed === null ? '-' : `${claimed.view}:${claimed.id}`

export class SignatureOracle {
  readonly #register = new WeakMap<Uint8Array, string>()
  readonly #judged = new WeakMap<object, boolean>()

  /** Each pen is given to one validator (or to its twin). */
  penOf(sender: ValidatorIndex): Pen {
    return message => {
      if (message.sender !== sender) throw new Error(`validator ${sender} tried to sign as ${message.sender}`)
      const signed = `${sender} ${statementOf(message)}`
      const signature = encoder.encode(signed)
      this.#register.set(signature, signed)
      return { ...message, signature } as SignedMessage as Verified<SignedMessage>
    }
  }

  open(message: ConsensusMessage): ConsensusMessage | null {
    return this.holds(message) ? message : null
  }

  /** All signatures hold, those within included. Nothing is said of counts. */
  holds(message: ConsensusMessage): boolean {
    const known = this.#judged.get(message)
    if (known !== undefined) return known
    const answer = this.#judge(message)
    this.#judged.set(message, answer)
    return answer
  }

  holdsCertificate(certificate: CommitCertificate | DecideCertificate): boolean {
    const type = 'path' in certificate && certificate.path === 'SLOW' ? 'BLOCK-ID' : 'COMMIT'
    const votes = 'path' in certificate ? certificate.votes : certificate.commits
    const statement = vote(type, certificate)
    return votes.every(signed => this.#signed(signed, statement))
  }

  #judge(message: ConsensusMessage): boolean {
    switch (message.type) {
      case 'FETCH':
        return true
      case 'BODY':
        return isSealed(message.block)
      case 'DECIDED':
        return isSealed(message.block) && this.holdsCertificate(message.certificate)
      case 'COMMIT':
      case 'BLOCK-ID':
      case 'STATUS':
        return this.#signed(message, statementOf(message))
      case 'VIEW-CHANGE':
        return this.#holdsViewChange(message)
      case 'PRE-PREPARE':
        return (
          isSealed(message.block) &&
          message.block.id === message.id &&
          this.#signed(message, statementOf(message)) &&
          message.justification.every(viewChange => this.holds(viewChange)) &&
          (message.parentCertificate === null || this.holdsCertificate(message.parentCertificate))
        )
    }
  }

  #holdsViewChange(message: ViewChange): boolean {
    const certificate = message.highCertificate
    return this.#signed(message, statementOf(message)) && (certificate === null || this.holdsCertificate(certificate))
  }

  #signed(signed: Signed, statement: string): boolean {
    return this.#register.get(signed.signature) === `${signed.sender} ${statement}`
  }
}

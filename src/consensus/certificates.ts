// Certificates: built from equal votes, and judged by their structure: enough votes, of distinct validators, for this height.
// The signatures inside were checked by wire/verify before a message became `Verified`. Not here: what follows from a
// certificate (decision.ts).

import type { Height } from '../model/ids.ts'
import type { BlockIdVote, Commit, CommitCertificate, DecideCertificate, Signed } from '../model/messages.ts'
import type { Quorum } from '../model/quorum.ts'

/** CC(h,w,id): exactly q of the given COMMITs, all for one (h,w,id). */
export function makeCommitCertificate(commits: readonly Commit[], quorum: Quorum): CommitCertificate {
  const { height, view, id } = commits[0] as Commit
  return { height, view, id, commits: signaturesOf(commits, quorum.commitCertificate) }
}

/** FAST: exactly n-p of the given COMMITs (P-37, the paper's two phases). */
export function makeFastCertificate(commits: readonly Commit[], quorum: Quorum): DecideCertificate {
  const { height, view, id } = commits[0] as Commit
  return { path: 'FAST', height, view, id, votes: signaturesOf(commits, quorum.fast) }
}

/** SLOW: exactly r of the given BLOCK-IDs. */
export function makeSlowCertificate(blockIds: readonly BlockIdVote[], quorum: Quorum): DecideCertificate {
  const { height, view, id } = blockIds[0] as BlockIdVote
  return { path: 'SLOW', height, view, id, votes: signaturesOf(blockIds, quorum.blockId) }
}

export const isCommitCertificate = (certificate: CommitCertificate, height: Height, quorum: Quorum): boolean =>
  certificate.height === height && areDistinct(certificate.commits, quorum.commitCertificate, quorum.n)

export function isDecideCertificate(certificate: DecideCertificate, height: Height, quorum: Quorum): boolean {
  const needed = certificate.path === 'FAST' ? quorum.fast : quorum.blockId
  return certificate.height === height && areDistinct(certificate.votes, needed, quorum.n)
}

function signaturesOf(votes: readonly Signed[], count: number): Signed[] {
  return votes
    .slice(0, count)
    .map(({ sender, signature }) => ({ sender, signature }))
    .sort((a, b) => a.sender - b.sender)
}

/** At least `needed` validators, in ascending order, so that none counts twice. */
function areDistinct(votes: readonly Signed[], needed: number, n: number): boolean {
  if (votes.length < needed) return false
  let previous = -1
  for (const vote of votes) {
    if (vote.sender <= previous) return false
    previous = vote.sender
  }
  return previous < n
}

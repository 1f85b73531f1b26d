// `emrm access request | emergency | review`: request → decision on the chain → shares → pieces → verified plaintext in a file, or on stdout.
// A denial is an answer with exit code 3 (P-47); break-the-glass is reviewed afterwards.

import type { Command } from 'commander'

import type { EmergencyShown } from '../api/emergencies.ts'
import { type Obtained, obtainRecord, told } from '../api/obtain.ts'
import { submitOperation } from '../api/operations.ts'
import { type AccessAttempt, type Agent, makeAgent } from '../client/agent.ts'
import { EmrmError } from '../model/errors.ts'
import type { RecordId, RequestId, Timestamp } from '../model/ids.ts'
import type { Right } from '../model/operations.ts'
import { giveBack } from '../short-lived.ts'
import { homeCommand, type KeyOption, withApi, withKey, withOptionalKey } from './home.ts'
import { makeByteProgress } from './progress.ts'
import { type Answer, denied, endProgress, handle, type Session, table } from './session.ts'
import { readChoice, readRecordId, readRequestId, requirePurposes } from './values.ts'

type AccessOptions = KeyOption & { readonly home: string; readonly role: string; readonly out: string }

/** As --out. */
const STDOUT = '-'

export function addAccessCommands(session: Session, program: Command): void {
  const access = program.command('access').description('ask for a record, under the policy of its patient')

  const request = accessOptions(
    access,
    'request <record>',
    'ask for a record for a purpose',
    'emrm access request 8c1f… --home ./net/hospital-2 --key ./doctor.key --role attending --purpose TREAT --out ./record.json',
  )
    .requiredOption('--purpose <code>', 'HL7 PurposeOfUse code: what it is wanted for')
    .option('--right <right>', 'read or share', readChoice('a right', ['read', 'share']))
  type RequestOptions = AccessOptions & { readonly purpose: string; readonly right?: readonly string[] }
  handle<RequestOptions>(session, request, async (options, id = '') => {
    requirePurposes([options.purpose])
    const record = readRecordId(id) as RecordId
    const right = (options.right?.at(-1) ?? 'read') as Right
    const { role, purpose } = options
    return obtain(session, options, agent => agent.requestAccess({ record, role, purpose, right }))
  })

  const emergency = accessOptions(
    access,
    'emergency <record>',
    'break the glass: without a policy, for a short time, under review',
    'emrm access emergency 8c1f… --home ./net/hospital-2 --key ./doctor.key --role emergency --reason "unconscious" --out ./record.json',
  ).requiredOption('--reason <text>', 'stands on the chain for the patient and the reviewer; no clinical detail')
  handle<AccessOptions & { readonly reason: string }>(session, emergency, (options, id = '') => {
    const record = readRecordId(id) as RecordId
    const { role, reason } = options
    return obtain(session, options, agent => agent.requestEmergency({ record, role, reason }))
  })

  const reviews = homeCommand(
    access,
    'reviews',
    "emergency accesses to the caller's records; without a key, those that this hospital has to review",
    'emrm access reviews --home ./net/hospital-1 --open',
  )
    .option('--key <file>', 'as this patient or guardian (default: as the hospital)')
    .option('--open', 'only those without a verdict')
  handle<{ readonly home: string; readonly key?: string; readonly open?: true }>(session, reviews, options =>
    withOptionalKey(session, options, async ({ api, as }) => {
      const all = ((await api.call('GET', '/v1/emergencies', { as })) as { emergencies: readonly EmergencyShown[] })
        .emergencies
      const emergencies = options.open === true ? all.filter(({ verdict }) => verdict === null) : all
      return { document: { emergencies }, lines: emergencies.length === 0 ? ['none'] : emergencies.map(emergencyLine) }
    }),
  )

  const review = homeCommand(
    access,
    'review <grant>',
    'the verdict on an emergency access',
    'emrm access review 52e0… --home ./net/hospital-1 --verdict justified --note "trauma room"',
  )
    .option('--key <file>', "the reviewer's key (default: the hospital judges in its own name)")
    .requiredOption('--verdict <verdict>', 'justified or rejected', readChoice('a verdict', ['justified', 'rejected']))
    .option('--note <text>', 'stands on the chain', '')
  type ReviewOptions = {
    readonly home: string
    readonly key?: string
    readonly verdict: readonly string[]
    readonly note: string
  }
  handle<ReviewOptions>(session, review, (options, id = '') => {
    const grant = readRequestId(id) as RequestId
    const { home, key: keyFile, note } = options
    const verdict = options.verdict.at(-1) === 'rejected' ? 'rejected' : 'justified'
    const answer = (height: number): Answer => ({
      document: { grant, verdict, height },
      lines: [`${verdict} at height ${height}`],
    })
    if (keyFile === undefined)
      return withApi(home, async api => {
        const body = { verdict, note }
        const { height } = (await api.call('POST', `/v1/grants/${grant}/review`, { body })) as { height: number }
        return answer(height)
      })
    return withKey(session, { home, key: keyFile }, async ({ api, key, chainId }) => {
      const signing = { key, chainId, timestamp: Date.now() as Timestamp }
      const { height } = await submitOperation(api, signing, { type: 'access.review', grant, verdict, note })
      return answer(height)
    })
  })
}

const emergencyLine = ({ grant, record, user, hospital, reason, time, deadline, state }: EmergencyShown): string =>
  `${new Date(time).toISOString()}  ${state}  record ${record}  by ${user} of ${hospital}: ${reason}  grant ${grant}  review by ${new Date(deadline).toISOString()}`

function accessOptions(parent: Command, usage: string, description: string, example: string): Command {
  return homeCommand(parent, usage, description, example)
    .requiredOption('--key <file>', "the requester's key")
    .requiredOption('--role <role>', "the session's role: one of those the user holds")
    .requiredOption(
      '--out <file>',
      'where the verified record goes, replaced only when all of it was checked; "-": stdout',
    )
    .addHelpText('after', OUT_HELP)
}

const OUT_HELP = `
With --out FILE an access that is cut off goes on where it stopped when it is asked for again; what waits in a hidden file is ciphertext.
With --out - only verified bytes leave: each piece is checked against the root on the chain and authenticated before it is written. Whether
the whole is what its custodian registered is known at the end: with any exit code but 0 do not use what came. The answer (with --json the
document) and errors then go to stderr, as its last line.`

/** Resolves when the chunk has left; a reader of ours that is slow is waited for. */
const writeOut =
  ({ io }: Session) =>
  (chunk: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      io.stdout.write(chunk, error => {
        giveBack(chunk)
        if (error) reject(outputFailed(error))
        else resolve()
      })
    })

const outputFailed = (cause: Error): EmrmError =>
  new EmrmError(
    'output-failed',
    'stdout cannot be written; see what reads it',
    { cause: (cause as NodeJS.ErrnoException).code ?? 'unknown' },
    cause,
  )

function obtain(session: Session, options: AccessOptions, attemptBy: (agent: Agent) => AccessAttempt): Promise<Answer> {
  if (options.out === STDOUT) session.answersTo = 'stderr'
  const bytesShown = makeByteProgress(session)
  return withKey(session, options, async ({ api, key, chainId }) => {
    const agent = makeAgent({ network: chainId, key, now: Date.now })
    try {
      const obtained = await obtainRecord({
        ...{ api, agent, key, chainId },
        attempt: attemptBy(agent),
        output: options.out === STDOUT ? writeOut(session) : options.out,
        stopSignal: session.io.stopSignal,
        onProgress: bytesShown.show,
      })
      return answer(obtained, options.out)
    } finally {
      endProgress(session)
    }
  })
}

function answer(obtained: Obtained, out: string): Answer {
  if (obtained.decision === 'deny') {
    const { reason, request, height } = obtained
    return denied(reason, { request, height })
  }
  const { refusals, ...shown } = obtained
  const lines = [...table({ ...shown, out }), ...refusals.map(refusal => `no share from ${told(refusal)}`)]
  return { document: { ...obtained, out }, lines }
}

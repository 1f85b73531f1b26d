// `emrm delegate set | revoke`: whom a patient lets read in their place, or, as a guardian, also set policies (P-44).

import type { Command } from 'commander'

import { submitOperation } from '../api/operations.ts'
import type { Identifier, Timestamp } from '../model/ids.ts'
import type { Scope } from '../model/operations.ts'
import { homeCommand, type KeyOption, withKey } from './home.ts'
import { handle, type Session } from './session.ts'
import { readChoice, readScope, readTime, readUserId, requireWindow, type ScopeText, TIME_MAX } from './values.ts'

type DelegateOptions = KeyOption & { readonly home: string; readonly owner?: string; readonly timestamp?: Timestamp }
type SetOptions = DelegateOptions & {
  readonly delegate: string
  readonly kind: readonly string[]
  readonly scope: ScopeText
  readonly from: Timestamp
  readonly to: Timestamp
}

export function addDelegateCommands(session: Session, program: Command): void {
  const delegate = program.command('delegate').description("who acts in a patient's place")

  const set = homeCommand(
    delegate,
    'set',
    'name a delegate (reads) or a guardian (also sets policies)',
    'emrm delegate set --home ./net/hospital-1 --key ./patient.key --delegate 77ab… --kind guardian --to 2028-01-01',
  )
    .requiredOption('--key <file>', "the patient's key")
    .requiredOption('--delegate <id>', "the delegate's identifier", readUserId)
    .option('--kind <kind>', 'delegate or guardian', readChoice('a kind', ['delegate', 'guardian']), ['delegate'])
    .option('--owner <id>', "the patient, when the key is not the patient's", readUserId)
    .option('--scope <scope>', 'all, kind:K or record:R', readScope, { type: 'all' })
    .option('--from <time>', 'ISO 8601 or ms (default: always)', readTime, 0 as Timestamp)
    .option('--to <time>', 'ISO 8601 or ms, not included (default: for ever)', readTime, TIME_MAX as Timestamp)
    .option('--timestamp <time>', 'default: now', readTime)
  handle<SetOptions>(session, set, options =>
    withKey(session, options, async ({ api, key, chainId }) => {
      requireWindow(options.from, options.to)
      const now = Date.now() as Timestamp
      const timestamp = options.timestamp ?? now
      const { height } = await submitOperation(
        api,
        { key, chainId, timestamp: now },
        {
          type: 'delegate.set',
          owner: (options.owner ?? key.identifier) as Identifier,
          delegate: options.delegate as Identifier,
          kind: options.kind.at(-1) === 'guardian' ? 'guardian' : 'delegate',
          scope: options.scope as Scope,
          from: options.from,
          to: options.to,
          timestamp,
        },
      )
      const document = { delegate: options.delegate, kind: options.kind.at(-1), timestamp, height }
      return { document, lines: [`${document.kind} ${document.delegate} at height ${height}`] }
    }),
  )

  const revoke = homeCommand(
    delegate,
    'revoke <delegate>',
    'take a delegation back',
    'emrm delegate revoke 77ab… --home ./net/hospital-1 --key ./patient.key',
  )
    .requiredOption('--key <file>', "the patient's key")
    .option('--owner <id>', "the patient, when the key is not the patient's", readUserId)
    .option('--timestamp <time>', 'default: now', readTime)
  handle<DelegateOptions>(session, revoke, (options, id = '') => {
    const target = readUserId(id) as Identifier
    return withKey(session, options, async ({ api, key, chainId }) => {
      const now = Date.now() as Timestamp
      const timestamp = options.timestamp ?? now
      const owner = (options.owner ?? key.identifier) as Identifier
      const signing = { key, chainId, timestamp: now }
      const operation = { type: 'delegate.revoke', owner, delegate: target, timestamp } as const
      const { height } = await submitOperation(api, signing, operation)
      return { document: { delegate: target, timestamp, height }, lines: [`revoked ${target} at height ${height}`] }
    })
  })
}

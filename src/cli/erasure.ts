// `emrm record ask-erasure | erase`: the end of a record. The patient asks with their own key; the hospital that keeps it executes; every hospital
// that held something signs for its destruction by itself. Not here: what the law allows when (ledger/erasure.ts).

import type { Command } from 'commander'

import type { Line } from '../api/client.ts'
import { submitOperation } from '../api/operations.ts'
import { type Retention, retentionNotOver } from '../api/retention.ts'
import { EmrmError } from '../model/errors.ts'
import type { RecordId, Timestamp } from '../model/ids.ts'
import { type Acting, homeCommand, type KeyOption, withApi, withKey } from './home.ts'
import { handle, type Session } from './session.ts'
import { readRecordId } from './values.ts'

export function addErasureCommands(session: Session, record: Command): void {
  const ask = homeCommand(
    record,
    'ask-erasure <record>',
    'ask the hospital that keeps a record to erase it (the patient or a guardian); refused while the law keeps it',
    'emrm record ask-erasure 8c1f… --home ./net/hospital-1 --key ./patient.key',
  ).requiredOption('--key <file>', "the patient's or a guardian's key")
  handle<KeyOption & { readonly home: string }>(session, ask, (options, id = '') => {
    const target = readRecordId(id) as RecordId
    return withKey(session, options, async acting => {
      const { request, height } = await askErasure(acting, target)
      return { document: { record: target, request, height }, lines: [`asked at height ${height}`] }
    })
  })

  const erase = homeCommand(
    record,
    'erase <record>',
    'erase a record for ever, when its patient has asked and the law no longer keeps it (the custodian)',
    'emrm record erase 8c1f… --home ./net/hospital-1',
  )
  handle<{ readonly home: string }>(session, erase, ({ home }, id = '') => {
    const target = readRecordId(id)
    return withApi(home, async api => {
      const document = (await api.call('POST', `/v1/records/${target}/erase`)) as Line
      const said = `erased at height ${document['height']}; each holder signs for its part: emrm record show ${target}`
      return { document, lines: [said] }
    })
  })
}

async function askErasure({ api, key, chainId }: Acting, record: RecordId): ReturnType<typeof submitOperation> {
  const signing = { key, chainId, timestamp: Date.now() as Timestamp }
  try {
    return await submitOperation(api, signing, { type: 'record.ask-erasure', record })
  } catch (error) {
    if (!(error instanceof EmrmError) || error.code !== 'retention-not-over') throw error
    // The chain says no; the rule and the date are in the index.
    const as = { signer: key, chainId }
    const { retention } = (await api.call('GET', `/v1/records/${record}`, { as })) as { retention: Retention }
    throw retentionNotOver(retention, { ...error.facts, record })
  }
}

/** For the end of an audit: who has not signed yet, by name. */
export function erasureLine(erasure: Line): string {
  const missing = erasure['missing'] as readonly string[]
  const state = missing.length === 0 ? 'destroyed by all who held it' : `no receipt yet from ${missing.join(', ')}`
  return `record ${erasure['record']} erased at height ${erasure['erased']}: ${state}`
}

// Calls that move a record's bytes: adding one, the shares of a grant, ciphertext pieces. Bodies are streams both ways and memory stays
// constant. The plaintext passes here only on its way in, from the hospital's own system; on the way out everything is sealed.
// Not here: the index and the decisions (routes-index.ts, routes-audit.ts).

import type { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'

import { EmrmError } from '../model/errors.ts'
import { fromHex } from '../model/hash.ts'
import { asTimestamp, type Identifier, isHexadecimal, type Timestamp } from '../model/ids.ts'
import type { AccessReview, Confidentiality, Encounter, RecordAdopt, RecordWithdraw } from '../model/operations.ts'
import { packLeaves } from '../records/pieces.ts'
import { readObject, readOneOf, readText } from '../shape.ts'
import { noteShortLived } from '../short-lived.ts'
import type { Caller } from './auth.ts'
import {
  type ApiContext,
  callerOf,
  openLines,
  pathId,
  queryList,
  queryText,
  recordIdIn,
  requestIdIn,
} from './context.ts'
import { refusedError } from './operations.ts'
import { toJson } from './present.ts'
import { retentionNotOver } from './retention.ts'
import { sendPieces } from './send-pieces.ts'

const CONFIDENTIALITIES: readonly Confidentiality[] = ['U', 'L', 'M', 'N', 'R', 'V']
/** X-Wing public key, 1216 bytes. */
const RECIPIENT_DIGITS = 2432
const LABELS_MAX = 32
const NOTE_LENGTH_MAX = 2_000
/** The chunk that came, the sealed one, the piece. */
const COPIES_OF_AN_UPLOAD = 3

export function addRecordRoutes(app: FastifyInstance, context: ApiContext): void {
  const { peer } = context

  // Lines: {"progress": {"stage", "bytes"}}, then {"record", "height", "size"} (and what became of the twin) or {"error": {…}}.
  app.post('/v1/records', async (request, reply) => {
    const owner = pathId(queryText(request, 'owner'), 32, 'patient id') as Parameters<typeof peer.addRecord>[1]['owner']
    const confidentiality = confidentialityIn(queryText(request, 'confidentiality') ?? 'N')
    const labels = queryList(request, 'label')
    if (labels.length > LABELS_MAX)
      throw new EmrmError('label-invalid', `a record has at most ${LABELS_MAX} labels; leave some out`, {
        countMax: LABELS_MAX,
      })
    const twin = twinIn(queryText(request, 'twin'))
    // What the caller says of the size is believed only as far as it refuses: what comes is counted again.
    await peer.requireRoom(sizeIn(queryText(request, 'size')))
    // Unsure means kept for longer.
    const encounter = encounterIn(queryText(request, 'encounter') ?? 'inpatient')
    const lastVisit = timeIn(queryText(request, 'lastVisit') ?? String(context.nowMs()))
    const lines = openLines(context, reply)
    const gone = new AbortController()
    reply.raw.on('close', () => gone.abort())
    try {
      const added = await peer.addRecord(noted(request.body as Readable), {
        owner,
        kind: queryText(request, 'kind') ?? null,
        confidentiality,
        labels,
        encounter,
        lastVisit,
        twin,
        onProgress: (stage, bytes) => void lines.write({ progress: { stage, bytes } }),
        signal: gone.signal,
      })
      await lines.write(added)
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })

  // In the name of the institution that runs this peer; the contract checks that it is the custodian.
  app.post<{ Params: { id: string } }>('/v1/records/:id/withdraw', async request => {
    requireHospital(callerOf(context, request))
    return actAsInstitution({ type: 'record.withdraw', record: recordIdIn(request.params.id) })
  })

  app.post<{ Params: { id: string } }>('/v1/records/:id/adopt', async request => {
    requireHospital(callerOf(context, request))
    const body = readObject(request.body, 'body', ['custodian'])
    const custodian = pathId(readText(body['custodian'], 'body.custodian', 32), 32, 'institution id') as Identifier
    return actAsInstitution({ type: 'record.adopt', record: recordIdIn(request.params.id), custodian })
  })

  // Only after the patient asked and retention is over; the refusal says by which rule and until when.
  app.post<{ Params: { id: string } }>('/v1/records/:id/erase', async request => {
    requireHospital(callerOf(context, request))
    const record = recordIdIn(request.params.id)
    const entry = peer.views.record(record)
    const { outcome, height, request: id } = await peer.submitAsInstitution({ type: 'record.erase', record })
    if (outcome.type === 'refused' && outcome.reason === 'retention-not-over' && entry !== null)
      throw retentionNotOver(peer.views.retention(entry), { operation: 'record.erase', record, request: id, height })
    if (outcome.type === 'refused') throw refusedError(outcome.reason, 'record.erase', id, height)
    return { record, request: id, height }
  })

  // A hospital's verdict on an emergency access; users of it in role quality sign theirs themselves.
  app.post<{ Params: { id: string } }>('/v1/grants/:id/review', async request => {
    requireHospital(callerOf(context, request))
    const body = readObject(request.body, 'body', ['verdict', 'note'])
    const verdict = readOneOf(body['verdict'], 'body.verdict', ['justified', 'rejected'] as const)
    const note = body['note'] === '' ? '' : readText(body['note'], 'body.note', NOTE_LENGTH_MAX)
    return actAsInstitution({ type: 'access.review', grant: requestIdIn(request.params.id), verdict, note })
  })

  async function actAsInstitution(operation: RecordWithdraw | RecordAdopt | AccessReview): Promise<object> {
    const { request, height, outcome } = await peer.submitAsInstitution(operation)
    if (outcome.type === 'refused') throw refusedError(outcome.reason, operation.type, request, height)
    const { type: _, ...what } = operation
    return { ...what, request, height }
  }

  app.post<{ Params: { id: string } }>('/v1/grants/:id/release', async request => {
    const body = readObject(request.body, 'body', ['recipientKey'])
    const recipientKey = readText(body['recipientKey'], 'body.recipientKey', RECIPIENT_DIGITS).toLowerCase()
    if (!isHexadecimal(recipientKey, RECIPIENT_DIGITS))
      throw new EmrmError(
        'recipient-key-invalid',
        'the recipient key is refused; send an X-Wing public key, 2432 hexadecimal digits',
      )
    return toJson(await peer.release(requestIdIn(request.params.id), fromHex(recipientKey)))
  })

  app.get<{ Params: { id: string } }>('/v1/records/:id/leaves', async (request, reply) => {
    const leaves = await peer.leaves(recordIdIn(request.params.id), requestIdIn(queryText(request, 'grant')))
    return reply.type('application/octet-stream').send(Buffer.from(packLeaves(leaves)))
  })

  app.get<{ Params: { id: string } }>('/v1/records/:id/ciphertext', async (request, reply) => {
    const record = recordIdIn(request.params.id)
    const grant = requestIdIn(queryText(request, 'grant'))
    const from = Number(queryText(request, 'from') ?? '0')
    if (!Number.isSafeInteger(from) || from < 0)
      throw new EmrmError('piece-invalid', 'from is refused; send the number of a 1 MiB piece, the first is 0')
    const ciphertext = peer.ciphertext(record, grant, from)
    const pieces = ciphertext.pieces[Symbol.asyncIterator]()
    // The first piece is taken before the head goes out, so that a refusal is an error document.
    const first = await pieces.next()
    reply.hijack()
    reply.raw.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': ciphertext.bytes,
      'cache-control': 'no-store',
    })
    await sendPieces(reply.raw, first, pieces)
  })
}

async function* noted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    noteShortLived(COPIES_OF_AN_UPLOAD * chunk.length)
    yield chunk
  }
}

function requireHospital(caller: Caller): void {
  if (caller.type !== 'hospital')
    throw new EmrmError('not-allowed', 'the hospital does this in its own name; leave the key out')
}

function sizeIn(text: string | undefined): number {
  const size = Number(text ?? '0')
  if (Number.isSafeInteger(size) && size >= 0) return size
  throw new EmrmError('size-invalid', 'size is refused; send the number of bytes that will come, or leave it out')
}

function twinIn(text: string | undefined): boolean {
  if (text === undefined || text === 'true' || text === 'false') return text === 'true'
  throw new EmrmError('twin-invalid', 'twin is refused; send true or false, or leave it out')
}

function encounterIn(text: string): Encounter {
  if (text === 'outpatient' || text === 'inpatient') return text
  throw new EmrmError('encounter-unknown', `${text} is no kind of encounter; send outpatient or inpatient`)
}

function timeIn(text: string): Timestamp {
  if (/^\d{1,15}$/.test(text)) return asTimestamp(Number(text))
  throw new EmrmError('time-invalid', 'lastVisit is refused; send milliseconds since 1970')
}

function confidentialityIn(text: string): Confidentiality {
  const found = CONFIDENTIALITIES.find(level => level === text)
  if (found === undefined)
    throw new EmrmError(
      'confidentiality-unknown',
      `${text} is no level of confidentiality; use one of ${CONFIDENTIALITIES.join(', ')}`,
      { value: text },
    )
  return found
}

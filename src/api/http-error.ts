// Errors as the API says them: {"error":{"code","message",…facts}} with an HTTP status. Clients read the code; the status is for proxies.
// An error that is our own bug is logged and answered as `internal-error`, without its text: it could hold what nobody should read.

import { EmrmError } from '../model/errors.ts'
import type { Log } from '../ports.ts'

export type ErrorDocument = { readonly error: { readonly code: string; readonly message: string } }

const STATUS: Readonly<Record<string, number>> = {
  unauthorized: 401,
  'signature-invalid': 401,
  'signature-expired': 401,
  'not-allowed': 403,
  'not-found': 404,
  'method-not-allowed': 405,
  'request-too-large': 413,
  'body-too-large': 413,
  'mempool-full': 503,
  'peer-stopping': 503,
  'request-timeout': 504,
  'internal-error': 500,
  'store-write-failed': 500,
  'vault-full': 507,
}

export function statusOf(code: string): number {
  return STATUS[code] ?? (code.endsWith('-unknown') ? 404 : 422)
}

export function errorDocument(error: unknown, log: Log): ErrorDocument {
  if (error instanceof EmrmError) return { error: { ...error.facts, code: error.code, message: error.message } }
  const known = fastifyErrors[(error as { code?: string }).code ?? '']
  if (known !== undefined) return { error: known }
  log.error('api-internal-error', { name: (error as Error).name, stack: (error as Error).stack })
  return {
    error: { code: 'internal-error', message: 'the peer failed at this call; its log says why, please report it' },
  }
}

/** What fastify itself refuses before a route runs. */
const fastifyErrors: Readonly<Record<string, { readonly code: string; readonly message: string }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'body-too-large', message: 'the body is larger than this call takes' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'media-type-unknown',
    message: 'send application/json or application/octet-stream',
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'body-invalid', message: 'the body is empty; send a JSON document' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'body-invalid', message: 'the body is not JSON' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'body-invalid', message: 'the body is not as long as its header says' },
}

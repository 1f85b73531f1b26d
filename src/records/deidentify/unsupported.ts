// The one refusal of records that are sound but have no de-identified twin. Not here: records that cannot be read (json.ts).

import { EmrmError } from '../../model/errors.ts'

export function unsupported(what: string): EmrmError {
  return new EmrmError(
    'deidentify-unsupported',
    `${what}: it has no de-identified twin; share it only without the anonymous label`,
  )
}

// Whom a policy is for, as it stands in a request, from what was typed: a hospital's name becomes its id. Not here: reading the text (values.ts).

import type { Api } from '../api/client.ts'
import type { Identifier } from '../model/ids.ts'
import type { Grantee } from '../model/operations.ts'
import { institutionId } from './home.ts'
import type { GranteeText } from './values.ts'

/** Throws EmrmError `institution-unknown`. */
export async function granteeOf(text: GranteeText, api: Api): Promise<Grantee> {
  switch (text.type) {
    case 'anyone':
      return { type: 'anyone' }
    case 'user':
      return { type: 'user', user: text.value as Identifier }
    case 'role':
      return { type: 'role', role: text.value }
    case 'group':
      return { type: 'group', group: text.value }
    case 'institution':
      return { type: 'institution', institution: await institutionId(api, text.value) }
  }
}

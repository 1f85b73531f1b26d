// Which codes may leave: those of code systems that are published, in the form of the system, or word by word where HL7 lists them
// (hl7-codes.json). A system that nobody listed is local, and a local code may be a name. Not here: which elements hold codes (rules-r4.json).

import published from './hl7-codes.json' with { type: 'json' }
import { isObject, type Json } from './json.ts'

/** System → may this code of it leave? */
export type CodeSystems = ReadonlyMap<Json, (code: string) => boolean>

/** What a rule set calls the list of HL7's codes: a change of the list is a change of the rule set. */
const PUBLISHED = `${published.id} ${published.version}`

/** Entries `{system, code}` with a pattern, or `{system, codes}` for all of HL7's systems below `system`; null when one is neither. */
export function codeSystemsOf(entries: Json | undefined): CodeSystems | null {
  const systems = new Map<Json, (code: string) => boolean>()
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isObject(entry) || typeof entry['system'] !== 'string') return null
    const { system, code, codes } = entry
    if (typeof code === 'string') {
      const pattern = new RegExp(code)
      systems.set(system as string, text => pattern.test(text))
    } else if (codes === PUBLISHED) {
      for (const [name, words] of listed(system as string)) systems.set(`${system}${name}`, text => words().has(text))
    } else return null
  }
  return systems
}

/** A system's words become a set when first asked for. */
function listed(prefix: string): [string, () => ReadonlySet<string>][] {
  const below: Readonly<Record<string, string>> =
    Object.entries(published.systems).find(([system]) => system === prefix)?.[1] ?? {}
  return Object.entries(below).map(([name, words]) => {
    let set: ReadonlySet<string> | null = null
    return [
      name,
      () => {
        set ??= new Set(words.split(' '))
        return set
      },
    ]
  })
}

// The codes of a FHIR ValueSet that lists them: its expansion, or a compose that includes concepts one by one. One that would have to be
// expanded by a terminology server (filters, whole systems, other value sets) is refused: its codes are not in it.

type Codes = readonly { readonly system: string; readonly code: string }[]

/** Or why not. */
export function codesOfValueSet(json: unknown): { readonly url: string; readonly codes: Codes } | string {
  const set = objectIn(json)
  if (set?.['resourceType'] !== 'ValueSet' || typeof set['url'] !== 'string')
    return 'has to be a FHIR ValueSet with a url'
  const codes =
    set['expansion'] === undefined ? composed(objectIn(set['compose'])) : expanded(objectIn(set['expansion']))
  return typeof codes === 'string' ? codes : { url: set['url'], codes }
}

function expanded(expansion: Fields | null): Codes | string {
  const codes: { system: string; code: string }[] = []
  const open = [...listIn(expansion?.['contains'])]
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    const { system, code, contains, abstract } = objectIn(item) ?? {}
    open.push(...listIn(contains))
    if (abstract === true) continue
    if (typeof system !== 'string' || typeof code !== 'string') return 'has an expansion without systems and codes'
    codes.push({ system, code })
  }
  return codes.length === 0 ? 'has an empty expansion' : codes
}

function composed(compose: Fields | null): Codes | string {
  if (compose === null || compose['exclude'] !== undefined)
    return 'has no list of codes, or excludes some; expand it first'
  const codes: { system: string; code: string }[] = []
  for (const item of listIn(compose['include'])) {
    const { system, concept, filter, valueSet } = objectIn(item) ?? {}
    const concepts = listIn(concept)
    if (typeof system !== 'string' || concepts.length === 0 || filter !== undefined || valueSet !== undefined)
      return 'includes codes that it does not list; expand it first'
    for (const one of concepts) {
      const code = objectIn(one)?.['code']
      if (typeof code !== 'string') return 'has a concept without a code'
      codes.push({ system, code })
    }
  }
  return codes.length === 0 ? 'lists no codes' : codes
}

type Fields = Readonly<Record<string, unknown>>
const objectIn = (value: unknown): Fields | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null
const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

// Who and what an end-to-end test needs, through the command line: a patient, a doctor, a record, a policy.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { emrm, emrmJson, type Ran, type Swarm, type SwarmPeer } from './swarm.ts'

export type Person = { readonly id: string; readonly key: string; readonly peer: SwarmPeer }

/** Registers a user at a hospital; the key file lies beside the homes. */
export async function person(
  swarm: Swarm,
  peer: SwarmPeer,
  name: string,
  roles: readonly string[],
  more: readonly string[] = [],
): Promise<Person> {
  const key = join(swarm.dir, `${name}.key`)
  const asked = roles.flatMap(role => ['--role', role])
  const answer = await emrmJson([
    'user',
    'register',
    '--home',
    peer.home,
    ...asked,
    '--name',
    name,
    '--out',
    key,
    ...more,
  ])
  return { id: String(answer['user']), key, peer }
}

/** A small FHIR resource of its own for each call. */
export const observation = (text: string): string =>
  JSON.stringify({
    resourceType: 'Observation',
    status: 'final',
    code: { coding: [{ system: 'http://loinc.org', code: '8867-4', display: 'Heart rate' }] },
    note: [{ text }],
    valueQuantity: { value: 72, unit: 'beats/minute' },
  })

export async function addRecord(
  swarm: Swarm,
  peer: SwarmPeer,
  patient: Person,
  content: string | Uint8Array,
  more: readonly string[] = [],
): Promise<string> {
  const file = join(swarm.dir, `record-${Math.random().toString(36).slice(2)}`)
  await writeFile(file, content)
  const added = await emrmJson(['record', 'add', file, '--home', peer.home, '--patient', patient.id, ...more])
  return String(added['record'])
}

export async function permit(patient: Person, options: readonly string[]): Promise<Record<string, unknown>> {
  return emrmJson(['policy', 'set', '--home', patient.peer.home, '--key', patient.key, ...options])
}

export const outFile = (swarm: Swarm): string => join(swarm.dir, `out-${Math.random().toString(36).slice(2)}`)

export async function request(
  who: Person,
  record: string,
  role: string,
  purpose: string,
  out: string,
  more: readonly string[] = [],
): Promise<Ran> {
  return emrm([
    'access',
    'request',
    record,
    '--home',
    who.peer.home,
    '--key',
    who.key,
    '--role',
    role,
    '--purpose',
    purpose,
    '--out',
    out,
    '--json',
    ...more,
  ])
}

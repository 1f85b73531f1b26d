// `emrm backup | restore | doctor`: for those who run the peer.

import { resolve } from 'node:path'
import type { Command } from 'commander'
import { EmrmError } from '../model/errors.ts'
import { homeCommand, withApi } from './home.ts'
import { EXIT, endProgress, handle, progress, type Session, table } from './session.ts'

export function addOperationsCommands(session: Session, program: Command): void {
  const show = (stage: string, done: number, total: number): void => progress(session, `${stage} ${done}/${total}`)

  const backup = homeCommand(
    program,
    'backup',
    'check a stopped home and copy it, keys still encrypted, with a list of hashes',
    'emrm backup --home ./net/hospital-1 --out ./backup-2027-01-31',
  ).requiredOption('--out <dir>', 'directory to make')
  handle<{ readonly home: string; readonly out: string }>(session, backup, async ({ home, out }) => {
    await requireStopped(home)
    const { backUp } = await import('../backup.ts')
    try {
      const document = await backUp(home, resolve(out), show)
      return { document, lines: table(document) }
    } finally {
      endProgress(session)
    }
  })

  const restore = homeCommand(
    program,
    'restore',
    'make a home from a backup and check it; it signs nothing until the others told it where the chain stands',
    'emrm restore --from ./backup-2027-01-31 --home ./hospital-1',
  ).requiredOption('--from <dir>', 'the backup')
  handle<{ readonly home: string; readonly from: string }>(session, restore, async ({ home, from }) => {
    const { restore: restoreHome } = await import('../backup.ts')
    try {
      const document = await restoreHome(resolve(from), resolve(home), show)
      return { document, lines: table(document) }
    } finally {
      endProgress(session)
    }
  })

  const doctor = homeCommand(
    program,
    'doctor',
    'look at settings, secrets, ports, disk, vault, clock and neighbours',
    'emrm doctor --home ./net/hospital-1',
  )
  handle<{ readonly home: string }>(session, doctor, async ({ home }) => {
    const { examine } = await import('../doctor.ts')
    const checks = await examine(home, session.io.env)
    const problems = checks.filter(({ ok }) => !ok)
    const lines = checks.map(({ check, ok, detail }) => `${ok ? 'ok ' : 'BAD'}  ${check}: ${detail}`)
    if (problems.length === 0) return { document: { ok: true, checks }, lines }
    const message = `${problems.length} problem(s): ${problems.map(({ check }) => check).join(', ')}; each line says what to do`
    session.io.stderr.write(`error doctor-found-problems: ${message}\n`)
    const error = { code: 'doctor-found-problems', message }
    return { document: { ok: false, checks, error }, lines, exitCode: EXIT.failed }
  })
}

/** The store's lock says the same, but only when the store is opened. */
async function requireStopped(home: string): Promise<void> {
  try {
    await withApi(home, api => api.call('GET', '/v1/status'))
  } catch (error) {
    if (error instanceof EmrmError && error.code === 'peer-not-running') return
    throw error
  }
  throw new EmrmError('home-in-use', `a peer runs on ${home}; stop it, then try again`, { home })
}

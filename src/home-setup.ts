// Makes one hospital's home: encrypted keys, its copy of the network's files, config.json. `network create` makes several at once, `init`
// makes one for a hospital that joins later. Not here: the network's own files (network-setup.ts), reading a home (config.ts).

import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

import { homePaths, type Settings } from './config.ts'
import { type SealSeed, saveKeyFile } from './identity/keystore.ts'
import type { SigningKey } from './identity/signing-key.ts'
import { EmrmError } from './model/errors.ts'
import type { PeerId } from './model/ids.ts'

export type InstitutionKeys = {
  readonly peerId: PeerId
  readonly institution: SigningKey
  readonly seal: SealSeed
  /** Null when a central CA registers this hospital's users. */
  readonly ca: SigningKey | null
}

/** The network's files as text, the same in every home. */
export type SharedFiles = { readonly genesis: string; readonly swarmKey: string; readonly peers: string }

export async function writeHome(home: string, content: HomeContent): Promise<void> {
  const { keys, shared, settings, password } = content
  const paths = homePaths(home)
  await mkdir(join(paths.home, 'keys'), { recursive: true, mode: 0o700 })
  const label = (what: string): { readonly label: string } => ({ label: `${settings.name} ${what}` })
  await Promise.all([
    writeFile(paths.config, printJson(settings)),
    writeFile(paths.genesis, shared.genesis),
    writeFile(paths.swarmKey, shared.swarmKey, { mode: 0o600 }),
    writeFile(paths.peers, shared.peers),
    saveKeyFile(paths.institutionKey, keys.institution, password, label('institution')),
    saveKeyFile(paths.sealKey, keys.seal, password, label('shares')),
    keys.ca === null ? null : saveKeyFile(paths.caKey, keys.ca, password, label('CA')),
  ])
}

export type HomeContent = {
  readonly keys: InstitutionKeys
  readonly shared: SharedFiles
  readonly settings: Settings
  readonly password: string
}

/**
 * Fills a directory beside the target and moves it there in one step: whoever looks sees nothing or all of it.
 * Throws EmrmError `directory-not-empty`, `directory-not-writable`; a target that exists is never touched.
 */
export async function buildDirectory(target: string, fill: (draft: string) => Promise<void>): Promise<void> {
  await requireEmpty(target)
  const draft = join(dirname(target), `.${basename(target)}.${process.pid}.new`)
  try {
    await mkdir(dirname(target), { recursive: true })
    await mkdir(draft, { mode: 0o700 })
    await fill(draft)
    await rename(draft, target)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw errorOfWriting(error, target)
  }
}

async function requireEmpty(directory: string): Promise<void> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    if (error.code === 'ENOTDIR') return [basename(directory)]
    throw errorOfWriting(error, directory)
  })
  if (entries.length > 0) throw notEmpty(directory)
}

function errorOfWriting(error: unknown, target: string): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === 'ENOTEMPTY' || code === 'ENOTDIR') return notEmpty(target)
  if (['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EEXIST'].includes(code))
    return new EmrmError(
      'directory-not-writable',
      `${target} cannot be made (${code}); choose another directory or free its place`,
      { directory: target, reason: code },
      error,
    )
  return error
}

const notEmpty = (directory: string): EmrmError =>
  new EmrmError(
    'directory-not-empty',
    `${directory} exists and is not an empty directory; nothing was written, choose another one`,
    { directory },
  )

export const printJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

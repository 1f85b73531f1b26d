// A home as a directory of files with a list of their hashes, and back. Keys stay encrypted under their password. A home that was restored
// has forgotten the votes that it cast after the backup, so it may sign nothing until the others told it where the chain stands
// (consensus.md §1.3, "Lost disk"): the guard file says that. The peer must be stopped: a running store changes while it is copied.

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'

import { homePaths, loadConfig, type PeerConfig, type Settings } from './config.ts'
import { buildDirectory, printJson } from './home-setup.ts'
import { EmrmError } from './model/errors.ts'
import { isHexadecimal } from './model/ids.ts'
import { verifyOffline } from './offline.ts'
import { readJsonFile, readList, readObject, readText, readWhole, refuse } from './shape.ts'
import { isElsewhere } from './vault-place.ts'

const MANIFEST = 'manifest.json'
const FILES_MAX = 10_000_000
/** Of a running peer, or rebuilt by the next start. */
const LEFT_OUT = new Set(['api.token', 'api.address', 'guard.json'])

type Entry = { readonly path: string; readonly size: number; readonly sha256: string }
type Manifest = {
  readonly version: 1
  readonly chainId: string
  readonly height: number
  readonly files: readonly Entry[]
}

export type BackupReport = {
  readonly directory: string
  readonly height: number
  readonly records: number
  readonly files: number
  readonly bytes: number
}
export type Progress = (stage: string, done: number, total: number) => void

/** Checks the home first: what is damaged is not backed up as if it were whole. Throws EmrmError `home-in-use`, `home-damaged`, `directory-not-empty`. */
export async function backUp(home: string, directory: string, onProgress: Progress): Promise<BackupReport> {
  const config = await loadConfig(home)
  const report = await requireSound(config, onProgress)
  const sources = await sourcesOf(config)
  const files: Entry[] = []
  await buildDirectory(directory, async draft => {
    for (const [i, { from, path }] of sources.entries()) {
      files.push(await copyHashed(from, join(draft, path), path))
      onProgress('copy', i + 1, sources.length)
    }
    const manifest: Manifest = { version: 1, chainId: config.chainId, height: report.heights, files }
    await writeFile(join(draft, MANIFEST), printJson(manifest), { mode: 0o600 })
  })
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  return { directory, height: report.heights, records: report.records, files: files.length, bytes }
}

/** Throws EmrmError `backup-corrupt` (names the file), `directory-not-empty`, `home-damaged`. */
export async function restore(directory: string, home: string, onProgress: Progress): Promise<BackupReport> {
  const manifest = parseManifest(await readJsonFile(join(directory, MANIFEST)))
  const present = (await filesUnder(directory)).filter(path => path !== MANIFEST)
  const listed = new Set(manifest.files.map(({ path }) => path))
  const foreign = present.find(path => !listed.has(path))
  if (foreign !== undefined) throw corrupt(foreign, 'is not in its list')
  await buildDirectory(home, async draft => {
    for (const [i, entry] of manifest.files.entries()) {
      const copied = await copyHashed(join(directory, entry.path), join(draft, entry.path), entry.path)
      if (copied.sha256 !== entry.sha256) throw corrupt(entry.path, 'is not the file that was backed up')
      onProgress('copy', i + 1, manifest.files.length)
    }
    await rewriteSettings(homePaths(draft).config)
    await writeFile(join(draft, 'guard.json'), `${JSON.stringify({ version: 1, signFrom: null })}\n`, { mode: 0o600 })
  })
  const report = await requireSound(await loadConfig(home), onProgress)
  const bytes = manifest.files.reduce((sum, { size }) => sum + size, 0)
  return { directory: home, height: report.heights, records: report.records, files: manifest.files.length, bytes }
}

async function requireSound(
  config: PeerConfig,
  onProgress: Progress,
): Promise<{ readonly heights: number; readonly records: number }> {
  const report = await verifyOffline(config, onProgress)
  const [first] = report.problems
  if (first !== undefined)
    throw new EmrmError(
      'home-damaged',
      `${first.height === undefined ? `record ${first.record}` : `height ${first.height}`}: ${first.reason}; run "emrm verify" for the whole list and repair it first`,
      { reason: first.reason },
    )
  return report
}

/** Data and vault may lie outside the home; in a backup they have their places inside. */
async function sourcesOf(config: PeerConfig): Promise<readonly { readonly from: string; readonly path: string }[]> {
  const { home } = config.paths
  const folders = config.vault.type === 'folder' ? [config.dataDir, config.vault.path] : [config.dataDir]
  const inside = (directory: string): boolean => !relative(home, directory).startsWith('..')
  const own = (await filesUnder(home)).filter(path => {
    const from = join(home, path)
    const elsewhere = folders.some(dir => inside(dir) && !relative(dir, from).startsWith('..'))
    return !LEFT_OUT.has(path) && !elsewhere
  })
  const under = async (directory: string, place: string): Promise<{ from: string; path: string }[]> =>
    (await filesUnder(directory)).map(path => ({ from: join(directory, path), path: join(place, path) }))
  return [
    ...own.map(path => ({ from: join(home, path), path })),
    ...(await under(config.dataDir, 'data')),
    ...(config.vault.type === 'folder' ? await under(config.vault.path, 'vault') : []),
  ]
}

async function filesUnder(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(error => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  })
  return entries
    .filter(entry => entry.isFile())
    .map(entry => relative(directory, join(entry.parentPath, entry.name)))
    .sort()
}

async function copyHashed(from: string, to: string, path: string): Promise<Entry> {
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  await copyFile(from, to).catch(error => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw corrupt(path, 'is missing')
    throw error
  })
  await chmod(to, 0o600)
  // The copy is read, not the original: the hash says what lies on the backup's disk.
  const hash: Hash = createHash('sha256')
  await pipeline(createReadStream(to), hash)
  return { path, size: (await stat(to)).size, sha256: hash.digest('hex') }
}

/** Where data and vault lay before is the old machine's matter; a database or a bucket has its own address, and its own backup. */
async function rewriteSettings(file: string): Promise<void> {
  const { data: _, vault, ...settings } = (await readJsonFile(file)) as Settings
  await rm(file)
  await writeFile(file, printJson(vault !== undefined && isElsewhere(vault) ? { ...settings, vault } : settings))
}

function parseManifest(json: unknown): Manifest {
  const manifest = readObject(json, MANIFEST, ['version', 'chainId', 'height', 'files'])
  readWhole(manifest['version'], `${MANIFEST}.version`, 1, 1)
  return {
    version: 1,
    chainId: readText(manifest['chainId'], `${MANIFEST}.chainId`, 64),
    height: readWhole(manifest['height'], `${MANIFEST}.height`, 0, Number.MAX_SAFE_INTEGER),
    files: readList(manifest['files'], `${MANIFEST}.files`, FILES_MAX, (item, where) => {
      const entry = readObject(item, where, ['path', 'size', 'sha256'])
      const path = readText(entry['path'], `${where}.path`, 4096)
      const sha256 = readText(entry['sha256'], `${where}.sha256`, 64)
      // A list that names a place outside the home would overwrite it.
      if (path.startsWith('/') || path.split('/').includes('..')) throw refuse(`${where}.path`, 'leaves the home')
      if (!isHexadecimal(sha256, 64)) throw refuse(`${where}.sha256`, 'must be 64 hexadecimal digits')
      return { path, size: readWhole(entry['size'], `${where}.size`, 0, Number.MAX_SAFE_INTEGER), sha256 }
    }),
  }
}

const corrupt = (path: string, why: string): EmrmError =>
  new EmrmError('backup-corrupt', `${path} in the backup ${why}; use another backup`, { file: path })

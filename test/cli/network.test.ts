// The authority's step and a further hospital's home, as files. Ports, keys and names are checked before a directory appears.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig, loadSigningKey, unlockKeys } from '../../src/config.ts'
import { errorCode, run } from './run.ts'

const PASSWORD = { EMRM_PASSWORD: 'correct horse' }

async function place(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'emrm-net-'))
  t.after(() => rm(dir, { recursive: true }))
  return dir
}

const create = (dir: string, ...more: readonly string[]): readonly string[] => [
  ...['network', 'create', '--dir', dir, '--name', 'pilot', '--hospitals', '4', '--json'],
  ...more,
]

test('a network that cannot be is refused, and nothing is left behind', async t => {
  const dir = await place(t)
  const net = join(dir, 'net')
  const table: readonly [string, readonly string[], Record<string, string>][] = [
    ['quorum-invalid', ['--hospitals', '3'], PASSWORD],
    ['quorum-invalid', ['--hospitals', '4', '--f', '2'], PASSWORD],
    ['quorum-invalid', ['--hospitals', '4', '--f', '0'], PASSWORD],
    ['quorum-invalid', ['--hospitals', '5', '--f', '1', '--p', '1'], PASSWORD],
    ['committee-too-large', ['--hospitals', '201'], PASSWORD],
    ['port-invalid', ['--base-port', '65500'], PASSWORD],
    ['name-invalid', ['--name', '../x'], PASSWORD],
    ['password-missing', [], {}],
    ['password-too-short', [], { EMRM_PASSWORD: 'short' }],
    ['file-missing', [], { EMRM_PASSWORD_FILE: join(dir, 'nothing') }],
  ]
  for (const [code, more, env] of table) {
    const ran = await run(create(net, ...more), env)
    assert.equal(errorCode(ran), code, more.join(' '))
    assert.equal(ran.code, 1)
    assert.deepEqual(await readdir(dir), [], code)
  }
})

test('a directory with something in it is never touched', async t => {
  const dir = await place(t)
  await writeFile(join(dir, 'mine'), 'x')
  assert.equal(errorCode(await run(create(dir), PASSWORD)), 'directory-not-empty')
  assert.deepEqual(await readdir(dir), ['mine'])
  assert.equal(errorCode(await run(create(join(dir, 'mine')), PASSWORD)), 'directory-not-empty')
  assert.equal(await readFile(join(dir, 'mine'), 'utf8'), 'x')
})

test('a network of four: homes that load, keys that open, ports ten apart, no secret readable by others', async t => {
  const dir = await place(t)
  const net = join(dir, 'net')
  await mkdir(net)
  const made = (await run(create(net, '--base-port', '9700'), PASSWORD)).json() as {
    f: number
    p: number
    chainId: string
    hospitals: readonly { home: string; peerId: string; institution: string; port: number; apiPort: number }[]
  }
  assert.deepEqual([made.f, made.p], [1, 0])
  assert.deepEqual(
    made.hospitals.map(({ port, apiPort }) => [port, apiPort]),
    [
      [9710, 9711],
      [9720, 9721],
      [9730, 9731],
      [9740, 9741],
    ],
  )
  const keys = new Set<string>()
  for (const [i, hospital] of made.hospitals.entries()) {
    const config = await loadConfig(hospital.home)
    assert.equal(config.chainId, made.chainId)
    assert.deepEqual(config.listen, [`/ip4/127.0.0.1/tcp/${hospital.port}`])
    assert.deepEqual(
      config.peers.map(({ peerId }) => peerId),
      made.hospitals.map(({ peerId }) => peerId),
    )
    if (i > 0) continue
    const { institution, seal } = await unlockKeys(config.paths, 'correct horse')
    assert.equal(institution.identifier, hospital.institution)
    assert.equal(config.genesis.institutions[0]?.sealKey, seal.publicKey)
    const ca = await loadSigningKey(config.paths.caKey, 'correct horse')
    assert.ok(config.genesis.cas.some(({ publicKey }) => publicKey === ca.publicKey))
    await assert.rejects(unlockKeys(config.paths, 'wrong horse'), { code: 'wrong-password' })
  }
  for (const name of await readdir(net, { recursive: true }))
    if (name.endsWith('.key')) {
      const { mode } = await stat(join(net, name))
      assert.equal(mode & 0o077, 0, name)
      keys.add(name)
    }
  assert.equal(keys.size, 1 + 1 + 4 * 4)
  const authority = await loadSigningKey(join(net, 'authority', 'authority.key'), 'correct horse')
  const genesis = JSON.parse(await readFile(join(net, 'genesis.json'), 'utf8'))
  assert.deepEqual(genesis.authority, { threshold: 1, keys: [authority.publicKey] })
})

test('a central CA registers for all hospitals, and no home holds its key', async t => {
  const net = join(await place(t), 'net')
  await run(create(net, '--central-ca'), PASSWORD)
  const config = await loadConfig(join(net, 'hospital-2'))
  assert.equal(config.genesis.cas.length, 1)
  assert.equal(config.genesis.cas[0]?.institutions.length, 4)
  assert.deepEqual((await readdir(join(net, 'hospital-2', 'keys'))).sort(), ['institution.key', 'seal.key'])
})

test("a further hospital's home loads and its admission request names its keys", async t => {
  const dir = await place(t)
  await run(create(join(dir, 'net')), PASSWORD)
  const files = ['genesis', 'swarm-key', 'peers'].flatMap(name => [
    `--${name}`,
    join(dir, 'net', name === 'swarm-key' ? 'swarm.key' : `${name}.json`),
  ])
  const init = (home: string, ...more: readonly string[]): Promise<Awaited<ReturnType<typeof run>>> =>
    run(['init', '--home', join(dir, home), ...files, '--base-port', '9750', '--json', ...more], PASSWORD)
  assert.equal(errorCode(await init('h5', '--name', 'hospital-1')), 'institution-exists')
  const made = (await init('h5', '--name', 'hospital-5')).json() as {
    institution: string
    peerId: string
    admission: readonly { type: string; publicKey: string }[]
  }
  const config = await loadConfig(join(dir, 'h5'))
  const { institution } = await unlockKeys(config.paths, 'correct horse')
  assert.equal(institution.identifier, made.institution)
  assert.deepEqual(
    made.admission.map(({ type }) => type),
    ['institution.admit', 'ca.authorize'],
  )
  assert.equal(made.admission[0]?.publicKey, institution.publicKey)
  assert.equal(errorCode(await init('h5', '--name', 'hospital-5')), 'directory-not-empty')
})

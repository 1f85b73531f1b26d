// The setting of a vault: which kind it is, and what it must not hold.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readVaultPlace } from '../src/vault-place.ts'
import { coded } from './records/support.ts'

const read = (vault: string): ReturnType<typeof readVaultPlace> => readVaultPlace(vault, '/home/a', 'config.json.vault')

test('a vault is a folder of the home, a database, or a bucket with or without prefix, endpoint and region', () => {
  assert.deepEqual(read('vault'), { type: 'folder', path: '/home/a/vault' })
  assert.deepEqual(read('/srv/vault'), { type: 'folder', path: '/srv/vault' })
  assert.deepEqual(read('postgres://db:5432/emrm'), { type: 'database', url: 'postgres://db:5432/emrm' })
  assert.deepEqual(read('s3://records'), {
    ...{ type: 'bucket', bucket: 'records', prefix: '', endpoint: null, region: null },
  })
  assert.deepEqual(read('s3://records/hospital/a/?endpoint=https://store.local:9000&region=eu-central-1'), {
    ...{ type: 'bucket', bucket: 'records', prefix: 'hospital/a/' },
    ...{ endpoint: 'https://store.local:9000', region: 'eu-central-1' },
  })
})

test('a setting with a key in it, and one that would be understood wrongly, is refused', () => {
  const refused = [
    'postgres://user@db/emrm',
    'postgres://db/emrm?password=x',
    'postgres://db',
    's3://KEY:SECRET@records/a',
    's3://records/a?secret=x',
    's3://records/a?endpoint=https://KEY:SECRET@store.local',
    's3://records/a?endpoint=store.local',
    's3://records/a?endpoint=file:///etc',
    's3:///a',
    's3://Records_Of_A/a',
    's3://records/a%20b',
    's3://records/a%2f..%2fb',
  ]
  for (const setting of refused) assert.throws(() => read(setting), coded('config-invalid'), setting)
})

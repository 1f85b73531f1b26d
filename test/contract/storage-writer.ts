// A process that writes one block after another and prints each height once it is acknowledged, until it is killed.

import { writeSync } from 'node:fs'

import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import type { Block } from '../../src/model/block.ts'
import type { Height, View } from '../../src/model/ids.ts'
import { chainId } from '../wire/samples.ts'
import { blockAt, changeOf } from './storage-chain.ts'

const store = await openLevelStorage(process.argv[2] as string)
let parent = chainId as Block['id']
for (let height = 1; height < 100_000; height++) {
  const block = blockAt(height, parent, 5)
  await store.write([
    changeOf(block),
    { type: 'forget-votes', height: height as Height },
    { type: 'vote', record: { type: 'view', height: (height + 1) as Height, view: height as View } },
  ])
  writeSync(1, `${height}\n`)
  parent = block.id
}

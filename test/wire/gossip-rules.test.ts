// What is passed on, dropped or blamed: a table, with a row for each way in which a message can come out of the judge.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Height } from '../../src/model/ids.ts'
import { TOPICS, type Topic } from '../../src/ports.ts'
import { encodeMessage } from '../../src/wire/codec.ts'
import { verdictOf } from '../../src/wire/gossip-rules.ts'
import { makeVerifier } from '../../src/wire/verify.ts'
import * as s from './samples.ts'

const verifier = makeVerifier({ chainId: s.chainId, committeeAt: height => (height <= 2 ? s.committee : null) })
const check = (message: Parameters<typeof encodeMessage>[0]): ReturnType<typeof verifier.message> =>
  verifier.message(encodeMessage(message))
const at = (topic: Topic, head = 1): { topic: Topic; head: Height } => ({ topic, head: head as Height })
const future = (height: number): ReturnType<typeof check> => check({ ...s.commit, height: height as Height })

test('each message is accepted on its own topic and rejected on every other', () => {
  const home: Readonly<Record<string, Topic>> = {
    'PRE-PREPARE': TOPICS.prePrepare,
    COMMIT: TOPICS.commit,
    'BLOCK-ID': TOPICS.blockId,
    'VIEW-CHANGE': TOPICS.viewChange,
    STATUS: TOPICS.viewChange,
    DECIDED: TOPICS.blockId,
    FETCH: TOPICS.blockId,
    BODY: TOPICS.blockId,
  }
  for (const message of Object.values(s.messages))
    for (const topic of Object.values(TOPICS))
      assert.equal(
        verdictOf(check(message), at(topic)),
        topic === home[message.type] ? 'accept' : 'reject',
        message.type,
      )
})

test('what is false is rejected, what cannot be judged yet is accepted and never ignored', () => {
  const forged = { ...s.commit, signature: new Uint8Array(64) }
  assert.equal(verdictOf(check(forged), at(TOPICS.commit)), 'reject')
  assert.equal(verdictOf(check(forged)), 'reject')
  assert.equal(verdictOf(verifier.message(new Uint8Array(3)), at(TOPICS.commit)), 'reject')
  assert.equal(verdictOf(future(3), at(TOPICS.commit)), 'accept')
  assert.equal(verdictOf(future(3)), 'accept')
  assert.equal(verdictOf(future(100_001), at(TOPICS.commit)), 'accept')
})

test('a height that nobody can have reached, and one that is long decided, are not passed on', () => {
  assert.equal(verdictOf(future(100_002), at(TOPICS.commit)), 'ignore')
  assert.equal(verdictOf(check(s.commit), at(TOPICS.commit, 3)), 'ignore')
  assert.equal(verdictOf(check(s.commit), at(TOPICS.commit, 2)), 'accept')
})

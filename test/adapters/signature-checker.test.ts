// Signatures checked in a thread: the same answers as everywhere, in order, and an asker that is told when the thread cannot say.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { makeSignatureChecker } from '../../src/adapters/signature-checker.ts'
import type { SignatureJob } from '../../src/ports.ts'
import { keyOf } from '../wire/samples.ts'

const [one, two] = [keyOf('one'), keyOf('two')]
const job = (text: string, signer = one, key = signer): SignatureJob => {
  const bytes = new Uint8Array(Buffer.from(text))
  return { publicKey: key.publicKey, bytes, signature: signer.sign(bytes) }
}

test('each signature is judged by itself: its own message, its own key, nothing malformed', async () => {
  const checker = makeSignatureChecker()
  const good = job('vote')
  const jobs = [
    good,
    job('', two),
    { ...good, bytes: new Uint8Array(Buffer.from('Vote')) },
    job('vote', one, two),
    { ...good, signature: good.signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte)) },
    job('x'.repeat(70_000)),
  ]
  assert.deepEqual(await checker.check(jobs), [true, true, false, false, false, true])
  assert.deepEqual(await checker.check([{ ...good, signature: new Uint8Array(63) }]), [false])
  assert.deepEqual(await checker.check([]), [])
  await checker.close()
})

test('questions that do not wait for each other get their own answers', async () => {
  const checker = makeSignatureChecker()
  const bad = { ...job('a'), bytes: new Uint8Array(1) }
  const answers = await Promise.all([checker.check([job('a'), bad]), checker.check([bad]), checker.check([job('b')])])
  assert.deepEqual(answers, [[true, false], [false], [true]])
  await checker.close()
})

test('a thread that ends leaves no asker without an answer, and the next question starts another', async () => {
  const checker = makeSignatureChecker()
  const many = Array.from({ length: 2_000 }, () => job('a'))
  const asked = checker.check(many)
  await checker.close()
  await assert.rejects(asked, /thread/)
  assert.deepEqual(await checker.check([job('a')]), [true])
  await checker.close()
})

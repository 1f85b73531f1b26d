// Ed25519 signatures checked in a thread of their own: a peer that catches up checks some four for each block, and each takes 42 µs that its
// own thread has not. The thread starts with the first question and does not keep the process alive. When it fails, the asker is told, and
// checks by itself. Not here: which signatures there are (wire/verify.ts).

import { Worker } from 'node:worker_threads'
import { fromHex } from '../model/hash.ts'
import type { SignatureChecker, SignatureJob } from '../ports.ts'

const HEAD_BYTES = 100
const KEY_AT = 0
const SIGNATURE_AT = 32
const LENGTH_AT = 96

type Waiting = { readonly resolve: (answers: readonly boolean[]) => void; readonly reject: (error: unknown) => void }

export function makeSignatureChecker(): SignatureChecker {
  const waiting = new Map<number, Waiting>()
  let worker: Worker | null = null
  let asked = 0

  function start(): Worker {
    const started = new Worker(new URL('./signature-thread.ts', import.meta.url))
    started.unref()
    started.on('message', ({ id, answers }: { id: number; answers: Uint8Array }) => {
      waiting.get(id)?.resolve(Array.from(answers, answer => answer === 1))
      waiting.delete(id)
    })
    const fail = (error: unknown): void => {
      if (worker === started) worker = null
      for (const { reject } of waiting.values()) reject(error)
      waiting.clear()
    }
    started.on('error', fail)
    started.on('exit', () => fail(new Error('the thread that checks signatures ended')))
    return started
  }

  return {
    check(jobs) {
      // What is malformed cannot be packed, and cannot hold.
      if (jobs.length === 0 || !jobs.every(isWellFormed)) return Promise.resolve(jobs.map(() => false))
      worker ??= start()
      const packed = pack(jobs)
      const id = asked++
      const { promise, resolve, reject } = Promise.withResolvers<readonly boolean[]>()
      waiting.set(id, { resolve, reject })
      worker.postMessage({ id, count: jobs.length, packed }, [packed.buffer])
      return promise
    },
    async close() {
      await worker?.terminate()
    },
  }
}

const isWellFormed = ({ publicKey, signature }: SignatureJob): boolean =>
  publicKey.length === 2 * SIGNATURE_AT && signature.length === LENGTH_AT - SIGNATURE_AT

function pack(jobs: readonly SignatureJob[]): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(jobs.reduce((size, { bytes }) => size + HEAD_BYTES + bytes.length, 0))
  const view = new DataView(packed.buffer)
  let at = 0
  for (const { publicKey, signature, bytes } of jobs) {
    packed.set(fromHex(publicKey), at + KEY_AT)
    packed.set(signature, at + SIGNATURE_AT)
    view.setUint32(at + LENGTH_AT, bytes.length)
    packed.set(bytes, at + HEAD_BYTES)
    at += HEAD_BYTES + bytes.length
  }
  return packed
}

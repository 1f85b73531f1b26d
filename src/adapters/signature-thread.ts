// The thread in which signatures are checked that the peer's own thread need not wait for (signature-checker.ts). Bytes in, bytes out: for
// each job 32 bytes of key, 64 of signature, 4 of length, and the message; one byte for each answers. The verifier is the same as everywhere.

import { parentPort } from 'node:worker_threads'
import { toHex } from '../model/hash.ts'
import type { PublicKey } from '../model/ids.ts'
import { verifySignature } from '../wire/signature.ts'

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
const LENGTH_BYTES = 4

type Question = { readonly id: number; readonly count: number; readonly packed: Uint8Array }

const port = parentPort
if (port !== null)
  port.on('message', ({ id, count, packed }: Question) => {
    const answers = new Uint8Array(count)
    const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
    for (let i = 0, at = 0; i < count; i++) {
      const key = packed.subarray(at, at + KEY_BYTES)
      const signature = packed.subarray(at + KEY_BYTES, at + KEY_BYTES + SIGNATURE_BYTES)
      const start = at + KEY_BYTES + SIGNATURE_BYTES + LENGTH_BYTES
      at = start + view.getUint32(start - LENGTH_BYTES)
      answers[i] = verifySignature(toHex(key) as PublicKey, packed.subarray(start, at), signature) ? 1 : 0
    }
    port.postMessage({ id, answers }, [answers.buffer])
  })

// Frames of POST /v1/requests: a u32 big-endian length, then that many bytes, again and again on one connection. A HIS gateway keeps
// the connection open and has thousands of requests in flight. Not here: what the bytes mean (wire/codec).

import { EmrmError } from '../model/errors.ts'
import { REQUEST_BYTES_MAX } from '../wire/limits.ts'

/** A larger request is refused by every peer (wire/limits). */
export const FRAME_BYTES_MAX: number = REQUEST_BYTES_MAX

export function encodeFrame(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0 || bytes.length > FRAME_BYTES_MAX) throw tooLarge(bytes.length)
  const frame = Buffer.allocUnsafe(4 + bytes.length)
  frame.writeUInt32BE(bytes.length, 0)
  frame.set(bytes, 4)
  return frame
}

/** Yields each frame's bytes. Throws EmrmError `request-too-large` before buffering it, `request-truncated` when the stream ends inside a frame. */
export async function* decodeFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    let at = 0
    while (rest.length - at >= 4) {
      const length = rest.readUInt32BE(at)
      if (length === 0 || length > FRAME_BYTES_MAX) throw tooLarge(length)
      if (rest.length - at - 4 < length) break
      // A copy: the request outlives the chunk that carried it.
      yield new Uint8Array(rest.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    rest = rest.subarray(at)
  }
  if (rest.length > 0)
    throw new EmrmError('request-truncated', 'the stream ended inside a request; send the whole request again')
}

const tooLarge = (length: number): EmrmError =>
  new EmrmError(
    'request-too-large',
    `a request of ${length} bytes; one has 1 to ${FRAME_BYTES_MAX} bytes, records go to POST /v1/records`,
    { length, lengthMax: FRAME_BYTES_MAX },
  )

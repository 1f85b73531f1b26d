// What is written to one connection in one turn of the event loop leaves together. The library encrypts each frame by itself and hands
// its length and its ciphertext to the socket one after the other; a round of votes is then some dozen system calls, each of which wakes
// the other side. Here the frames of a turn become one ciphertext, and a ciphertext one write. By the public interface of streams alone.
// Not here: what our own links send in a turn (libp2p-direct.ts).

import type { ConnectionEncrypter, MessageStream, StreamMuxerFactory } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'
import { aroundEncryption, aroundMuxers } from './libp2p-wrapped.ts'

/** This much leaves at once: a transfer should neither wait for the end of its turn nor be copied. */
const joinedBytesMax = 64 * 1_024

/** The frames that a muxer sends in one turn go through the cipher as one. */
export const joiningFrames = <Components>(
  make: (components: Components) => StreamMuxerFactory,
): ((components: Components) => StreamMuxerFactory) =>
  aroundMuxers(make, (create, connection) => {
    const flush = joinTurns(connection)
    const muxer = create(connection)
    const close = muxer.close.bind(muxer)
    // Its goodbye is the last frame; the socket closes right after.
    muxer.close = options => close(options).finally(flush)
    return muxer
  })

/** What the cipher makes of one send goes to the socket as one buffer. */
export const joiningWrites = <Components>(
  make: (components: Components) => ConnectionEncrypter,
): ((components: Components) => ConnectionEncrypter) => aroundEncryption(make, { before: joinParts })

function joinParts<S extends MessageStream>(stream: S): S {
  const send = stream.send.bind(stream)
  stream.send = data => send(data.byteLength <= 2 * joinedBytesMax ? data.subarray() : data)
  return stream
}

/** Answers what sends at once whatever waits. */
function joinTurns(stream: MessageStream): () => void {
  const send = stream.send.bind(stream)
  let waiting = new Uint8ArrayList()
  /** The last send was told to wait; `drain` comes when it may go on. */
  let crowded = false
  stream.addEventListener('drain', () => {
    crowded = false
  })

  const sendWaiting = (): boolean => {
    const data = waiting
    waiting = new Uint8ArrayList()
    if (data.byteLength > 0) crowded = !send(data)
    return !crowded
  }
  const flush = (): void => {
    try {
      if (stream.status === 'open') sendWaiting()
    } catch {
      // The connection went in the meantime. Every stream on it hears so by itself.
    }
  }
  stream.send = data => {
    if (stream.status !== 'open') return send(data)
    // After all that this turn still does, and before the next.
    if (waiting.byteLength === 0) queueMicrotask(() => process.nextTick(flush))
    waiting.append(data)
    return waiting.byteLength >= joinedBytesMax ? sendWaiting() : !crowded
  }
  return flush
}

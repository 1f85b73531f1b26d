// Two costs inside the library, a third of a round of votes together, cut by reaching into objects that it makes. yamux answers every
// data frame with a window update, so half of all frames say that 200 bytes were read: here an open stream tells of it when a quarter of
// its window was used, which leaves the sender room at any time. noise learns that a chunk is at its end from a RangeError, and making
// its stack trace costs more than decrypting a vote: here that error is made once.
// A test fails when what is reached into goes. Not here: what is joined by public means (libp2p-joined.ts).

import type {
  ConnectionEncrypter,
  MessageStream,
  SecuredConnection,
  Stream,
  StreamMuxer,
  StreamMuxerFactory,
} from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'
import { aroundEncryption, aroundMuxers } from './libp2p-wrapped.ts'

type StreamInside = Stream & {
  readonly state: number
  readonly recvWindow: number
  readonly recvWindowCapacity: number
  sendWindowUpdate(): void
}
type MuxerInside = StreamMuxer & { _newStream(...of: readonly unknown[]): StreamInside }
type CipherInside = MessageStream & { readonly decoder: { lengthDecoder(data: Uint8ArrayList): number } }

/** `StreamState.Established` of the library. */
const ESTABLISHED = 3
const USED_SHARE = 0.25
const LENGTH_BYTES = 2

export const rareWindowUpdates = <Components>(
  make: (components: Components) => StreamMuxerFactory,
): ((components: Components) => StreamMuxerFactory) =>
  aroundMuxers(make, (create, connection) => {
    const muxer = create(connection) as MuxerInside
    const newStream = muxer._newStream.bind(muxer)
    muxer._newStream = (...of) => tellSeldom(newStream(...of))
    return muxer
  })

/** Updates that open, resume or end a stream go as before. */
function tellSeldom(stream: StreamInside): StreamInside {
  const tell = stream.sendWindowUpdate.bind(stream)
  stream.sendWindowUpdate = () => {
    const used = stream.recvWindow - stream.recvWindowCapacity
    if (stream.state !== ESTABLISHED || used >= stream.recvWindow * USED_SHARE) tell()
  }
  return stream
}

export const cheapChunkEnds = <Components>(
  make: (components: Components) => ConnectionEncrypter,
): ((components: Components) => ConnectionEncrypter) => aroundEncryption(make, { after: endingCheaply })

const chunkEnd = new RangeError('the length stands in the next chunk')

function endingCheaply(secured: SecuredConnection): SecuredConnection {
  const { decoder } = secured.connection as CipherInside
  decoder.lengthDecoder = data => {
    if (data.byteLength < LENGTH_BYTES) throw chunkEnd
    return data.getUint16(0)
  }
  return secured
}

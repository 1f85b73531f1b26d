// The library makes muxers and encryptions out of its components, when it starts. Here is the one way to lay something of ours around each
// that it makes. Not here: what is laid around them (libp2p-joined.ts, libp2p-trimmed.ts).

import type {
  ConnectionEncrypter,
  MessageStream,
  SecuredConnection,
  StreamMuxer,
  StreamMuxerFactory,
} from '@libp2p/interface'

type Maker<C, T> = (components: C) => T

/** `around` is given the library's own way to make a muxer on a connection, and makes one with it. */
export const aroundMuxers =
  <C>(
    make: Maker<C, StreamMuxerFactory>,
    around: (create: (connection: MessageStream) => StreamMuxer, connection: MessageStream) => StreamMuxer,
  ): Maker<C, StreamMuxerFactory> =>
  components => {
    const factory = make(components)
    const create = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = connection => around(create, connection)
    return factory
  }

/** `before`: what the handshake and all after it are sent through. `after`: the connection when the handshake is done. */
export const aroundEncryption =
  <C>(
    make: Maker<C, ConnectionEncrypter>,
    {
      before = stream => stream,
      after = secured => secured,
    }: {
      readonly before?: <S extends MessageStream>(stream: S) => S
      readonly after?: (secured: SecuredConnection) => SecuredConnection
    },
  ): Maker<C, ConnectionEncrypter> =>
  components => {
    const inner = make(components)
    return {
      protocol: inner.protocol,
      secureInbound: async (stream, options) => after(await inner.secureInbound(before(stream), options)),
      secureOutbound: async (stream, options) => after(await inner.secureOutbound(before(stream), options)),
    }
  }

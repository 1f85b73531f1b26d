// Bytes laid behind a fixed prefix, in memory that is used again: what is hashed or checked a thousand times a second needs no memory of
// its own each time. For an answer that outlives the next call, copy.

/** Views of up to this many bytes are made once for each length. */
const KEPT_VIEWS = 1024
/** Longer input gets memory of its own, so that one large value does not keep its size for ever. */
const ROOM_BYTES = 64 * 1024

export class Behind {
  readonly #prefix: Uint8Array
  readonly #room: Uint8Array
  readonly #views: Uint8Array[] = []

  constructor(prefix: Uint8Array) {
    this.#prefix = prefix
    this.#room = new Uint8Array(prefix.length + ROOM_BYTES)
    this.#room.set(prefix)
  }

  /** Prefix and bytes; valid until the next call. */
  lay(bytes: Uint8Array): Uint8Array {
    const { length } = bytes
    if (length > ROOM_BYTES) return this.#ofItsOwn(bytes)
    this.#room.set(bytes, this.#prefix.length)
    if (length >= KEPT_VIEWS) return this.#view(length)
    const view = this.#views[length] ?? this.#view(length)
    this.#views[length] = view
    return view
  }

  #view(length: number): Uint8Array {
    return this.#room.subarray(0, this.#prefix.length + length)
  }

  #ofItsOwn(bytes: Uint8Array): Uint8Array {
    const joined = new Uint8Array(this.#prefix.length + bytes.length)
    joined.set(this.#prefix)
    joined.set(bytes, this.#prefix.length)
    return joined
  }
}

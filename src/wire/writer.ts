// Writes canonical DAG-CBOR by the library. It may answer with a Buffer, whose `slice` is a view and which no test calls equal to the
// same bytes in a Uint8Array; what leaves wire is always a plain Uint8Array.
// Not here: reading, which the library does too late for our limits (reader.ts).

import { encode as libraryEncode } from '@ipld/dag-cbor'

import type { Item } from './shape.ts'

export function encode(item: Item): Uint8Array {
  const bytes: Uint8Array = libraryEncode(item)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

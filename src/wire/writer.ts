// Writes an item of a schema (shape.ts) as canonical DAG-CBOR. Not here: how (model/dag-cbor.ts), and reading (reader.ts).

import { encode as encodeValue } from '../model/dag-cbor.ts'
import type { Item } from './shape.ts'

export const encode = (item: Item): Uint8Array => encodeValue(item)

// A vault that forgets when the process ends: for tests and simulations. It copies what it takes and gives, as a disk would.

import type { Digest, RecordId } from '../model/ids.ts'
import { cipherRootOf, isPiece, pieceCorrupt } from '../records/pieces.ts'
import type { ItemName, Vault, VaultEntry } from '../records/vault.ts'
import { checkedPieces, notedPieces, recordExists, recordNotHeld, verifyRecord } from '../records/vault-rules.ts'

export function makeMemoryVault(): Vault {
  const ciphers = new Map<RecordId, { readonly entry: VaultEntry; readonly pieces: readonly Uint8Array[] }>()
  const items = new Map<RecordId, Map<ItemName, Uint8Array>>()

  async function keep(
    record: RecordId,
    source: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<VaultEntry> {
    if (ciphers.has(record)) throw recordExists(record)
    const note = { leaves: [] as Uint8Array[], size: 0 }
    const pieces: Uint8Array[] = []
    for await (const piece of notedPieces(record, source, note)) pieces.push(new Uint8Array(piece))
    const entry = { record, cipherRoot: cipherRootOf(note.leaves), cipherSize: note.size, leaves: note.leaves }
    if (expected !== null && entry.cipherRoot !== expected) throw pieceCorrupt(record, 0)
    if (ciphers.has(record)) throw recordExists(record)
    ciphers.set(record, { entry, pieces })
    return entry
  }

  const vault: Vault = {
    put: (record, source) => keep(record, source, null),
    putKnown: (claim, leaves, pieces) => keep(claim.record, checkedPieces(claim, leaves, pieces), claim.cipherRoot),
    entry: async record => ciphers.get(record)?.entry ?? null,
    piece: async (record, index) => {
      const held = ciphers.get(record)
      const piece = held?.pieces[index]
      if (held === undefined || piece === undefined) throw recordNotHeld(record)
      if (!isPiece(piece, index, held.entry.leaves, held.entry)) throw pieceCorrupt(record, index)
      return new Uint8Array(piece)
    },
    mendPiece: async (record, index, bytes) => {
      const held = ciphers.get(record)
      if (held?.pieces[index] === undefined) throw recordNotHeld(record)
      if (!isPiece(bytes, index, held.entry.leaves, held.entry)) throw pieceCorrupt(record, index)
      ciphers.set(record, { ...held, pieces: held.pieces.with(index, new Uint8Array(bytes)) })
    },
    removeCipher: async record => {
      ciphers.delete(record)
    },
    putItem: async (record, item, bytes) => {
      const held = items.get(record) ?? new Map<ItemName, Uint8Array>()
      items.set(record, held.set(item, new Uint8Array(bytes)))
    },
    item: async (record, item) => {
      const bytes = items.get(record)?.get(item)
      return bytes === undefined ? null : new Uint8Array(bytes)
    },
    removeItem: async (record, item) => {
      const held = items.get(record)
      held?.delete(item)
      if (held?.size === 0) items.delete(record)
    },
    items: async record => [...(items.get(record)?.keys() ?? [])].sort(),
    list: async () => [...new Set([...ciphers.keys(), ...items.keys()])].sort(),
    remove: async record => {
      for (const bytes of [...(ciphers.get(record)?.pieces ?? []), ...(items.get(record)?.values() ?? [])])
        bytes.fill(0)
      ciphers.delete(record)
      items.delete(record)
    },
    verify: (record, pace) => verifyRecord(vault, record, pace),
    sweep: async () => undefined,
    usedBytes: async () => {
      const held = [...ciphers.values()].map(({ entry }) => entry.cipherSize)
      const small = [...items.values()].flatMap(each => [...each.values()]).map(bytes => bytes.length)
      return [...held, ...small].reduce((sum, size) => sum + size, 0)
    },
    freeBytes: async () => null,
  }
  return vault
}

// Boxes for one reader: HPKE (RFC 9180) with X-Wing (ML-KEM-768 + X25519), SHAKE256 and AES-256-GCM, so that what is sealed today
// stays closed to a quantum computer of later. `info` says what the box is for; a box that is moved to another purpose does not open.
// Not here: what lies in the boxes (shares.ts) and how the key rests on disk (identity/keystore.ts).

import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { AEAD_AES_256_GCM, CipherSuite, KDF_SHAKE256, KEM_MLKEM768_X25519 } from 'hpke'
import { EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'

export const SEAL_KEY_BYTES = 1216
const SEAL_SEED_BYTES = 32
/** Encapsulated secret at the head of each box; 16 bytes of tag stand at its end. */
export const ENCAPSULATION_BYTES = 1120
const TAG_BYTES = 16
/** A box carries a share or a key, never a record. */
const PLAINTEXT_BYTES_MAX = 4096

/** An X-Wing key pair that opens boxes. */
export type SealKey = {
  /** 1216 bytes. */
  readonly publicBytes: Uint8Array
  /** The same as hexadecimal, as the chain and the key files carry it. */
  readonly publicKey: string
  /** A copy of the 32 secret bytes; for saving only. */
  seed(): Uint8Array
  /** Null when the box was not sealed to this key under this `info`, or was changed. */
  open(box: Uint8Array, info: string): Promise<Uint8Array | null>
}

const suite = new CipherSuite(KEM_MLKEM768_X25519, KDF_SHAKE256, AEAD_AES_256_GCM)

export const createSealKey = (): SealKey => sealKeyFromSeed(randomBytes(SEAL_SEED_BYTES))

/** Throws RangeError when the seed is not 32 bytes. */
export function sealKeyFromSeed(seed: Uint8Array): SealKey {
  if (seed.length !== SEAL_SEED_BYTES) throw new RangeError(`an X-Wing seed has ${SEAL_SEED_BYTES} bytes`)
  const kept = new Uint8Array(seed)
  const publicBytes = publicKeyOf(kept)
  const privateKey = suite.DeserializePrivateKey(new Uint8Array(kept), false)
  return {
    publicBytes,
    publicKey: toHex(publicBytes),
    seed: () => new Uint8Array(kept),
    open: async (box, info) => {
      if (box.length < ENCAPSULATION_BYTES + TAG_BYTES) return null
      if (box.length > ENCAPSULATION_BYTES + PLAINTEXT_BYTES_MAX + TAG_BYTES) return null
      try {
        return await suite.Open(
          await privateKey,
          box.subarray(0, ENCAPSULATION_BYTES),
          box.subarray(ENCAPSULATION_BYTES),
          { info: Buffer.from(info, 'utf8') },
        )
      } catch {
        return null
      }
    },
  }
}

/** Encapsulated secret ‖ ciphertext. Throws EmrmError `seal-key-invalid` for bytes that are no X-Wing public key. */
export async function sealTo(publicBytes: Uint8Array, info: string, plaintext: Uint8Array): Promise<Uint8Array> {
  if (plaintext.length > PLAINTEXT_BYTES_MAX) throw new RangeError(`a box carries at most ${PLAINTEXT_BYTES_MAX} bytes`)
  const publicKey = await suite.DeserializePublicKey(new Uint8Array(publicBytes)).catch(cause => {
    throw new EmrmError(
      'seal-key-invalid',
      `${publicBytes.length} bytes are no X-Wing public key (${SEAL_KEY_BYTES}); the holder has to make a new one`,
      { length: publicBytes.length },
      cause,
    )
  })
  const sealed = await suite.Seal(publicKey, plaintext, { info: Buffer.from(info, 'utf8') })
  const box = new Uint8Array(sealed.encapsulatedSecret.length + sealed.ciphertext.length)
  box.set(sealed.encapsulatedSecret)
  box.set(sealed.ciphertext, sealed.encapsulatedSecret.length)
  return box
}

/** draft-connolly-cfrg-xwing-kem §5.2: SHAKE256 spreads the seed into an ML-KEM-768 seed and an X25519 key. */
function publicKeyOf(seed: Uint8Array): Uint8Array {
  const spread = createHash('shake256', { outputLength: 96 }).update(seed).digest()
  const lattice = createPrivateKey({ key: spread.subarray(0, 64), format: 'raw-seed', asymmetricKeyType: 'ml-kem-768' })
  const curve = createPrivateKey({ key: spread.subarray(64), format: 'raw-private', asymmetricKeyType: 'x25519' })
  const publicBytes = new Uint8Array(SEAL_KEY_BYTES)
  publicBytes.set(createPublicKey(lattice).export({ format: 'raw-public' }))
  publicBytes.set(createPublicKey(curve).export({ format: 'raw-public' }), SEAL_KEY_BYTES - 32)
  spread.fill(0)
  return publicBytes
}

// The few libsodium calls that we use; sodium-native ships no types of its own.
declare module 'sodium-native' {
  const sodium: {
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    sodium_memzero(bytes: Uint8Array): void
    /** `sealed` has 16 bytes more than the message and may begin with it. */
    crypto_aead_chacha20poly1305_ietf_encrypt(
      sealed: Uint8Array,
      message: Uint8Array,
      data: Uint8Array | null,
      unused: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number
    /** `message` may be `sealed`. Throws when the tag is not its tag. */
    crypto_aead_chacha20poly1305_ietf_decrypt_detached(
      message: Uint8Array,
      unused: null,
      sealed: Uint8Array,
      tag: Uint8Array,
      data: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): void
  }
  export default sodium
}

// The few libsodium calls that we use; sodium-native ships no types of its own.
declare module 'sodium-native' {
  const sodium: {
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    sodium_memzero(bytes: Uint8Array): void
  }
  export default sodium
}

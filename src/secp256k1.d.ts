// The few calls of libsecp256k1 that we use; the package ships no types of its own. By its native bindings: the bare name falls back
// to a JavaScript implementation without a word.
declare module 'secp256k1/bindings.js' {
  const secp256k1: {
    privateKeyVerify(secret: Uint8Array): boolean
    publicKeyCreate(secret: Uint8Array, compressed: boolean): Uint8Array
    publicKeyConvert(publicKey: Uint8Array, compressed: boolean): Uint8Array
    ecdsaSign(digest: Uint8Array, secret: Uint8Array): { readonly signature: Uint8Array; readonly recid: number }
    ecdsaVerify(signature: Uint8Array, digest: Uint8Array, publicKey: Uint8Array): boolean
    signatureNormalize(signature: Uint8Array): Uint8Array
  }
  export default secp256k1
}

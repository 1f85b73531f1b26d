// A limit on everything that comes in as bytes, with its name. A peer that sends more is refused before anything is built from it.
// Two peers with different limits would disagree on what is valid: a change here is a change of `rulesVersion` or of the network.
// Not here: what the authority may set lower (ChainParameters), queues (mempool, outbox), libp2p's own limits (adapters).

import { VALIDATORS_MAX } from '../model/committee.ts'

/** One REQUEST with its signature. */
export const REQUEST_BYTES_MAX: number = 64 * 1024
/** Hard cap of a block; `blockBytesMax` of the chain's parameters stays at or below it. */
export const BLOCK_BYTES_MAX: number = 4 * 1024 * 1024
/** Hard cap of the requests in a block; the smallest request has some 150 bytes. */
export const BLOCK_REQUESTS_MAX: number = 20_000
/** A block, and a justification of 134 VIEW-CHANGEs that each carry 134 COMMITs (n = 200), 1.3 MB. */
export const MESSAGE_BYTES_MAX: number = 6 * 1024 * 1024
/** Everything that is not a PRE-PREPARE, DECIDED or BODY: a VIEW-CHANGE with a certificate of 200 signatures has 14 KiB. */
export const SMALL_MESSAGE_BYTES_MAX: number = 32 * 1024
/** A batch of gossiped requests. */
export const BATCH_BYTES_MAX: number = 1024 * 1024
export const BATCH_REQUESTS_MAX: number = 8_192
/** A genesis with 200 institutions, each with a sealing key of 1216 bytes, has some 300 KB. */
export const GENESIS_BYTES_MAX: number = 4 * 1024 * 1024

export const SIGNATURES_MAX: number = VALIDATORS_MAX
export const SIGNATURE_BYTES: number = 64
export const DIGEST_BYTES: number = 32
export const IDENTIFIER_BYTES: number = 16
export const ED25519_KEY_BYTES: number = 32
export const SECP256K1_KEY_BYTES: number = 33
/** X-Wing public key (HPKE KEM 0x647a). */
export const SEAL_KEY_BYTES: number = 1216

/** Codes and short names in operations: role, purpose, kind, label, group. Bytes of UTF-8. */
export const CODE_BYTES_MAX: number = 64
/** Names of institutions and regions. */
export const NAME_BYTES_MAX: number = 200
/** A clinician's reason for breaking the glass, a reviewer's note. */
export const NOTE_BYTES_MAX: number = 2_000
/** Base58 text of a libp2p peer id. */
export const PEER_ID_BYTES_MAX: number = 100

export const ROLES_MAX: number = 32
export const GROUPS_MAX: number = 64
/** Attributes of one credential. */
export const ATTRIBUTES_MAX: number = 32
export const ATTRIBUTE_VALUES_MAX: number = 16
export const LABELS_MAX: number = 32
export const PURPOSES_MAX: number = 64
export const RELATION_ROWS_MAX: number = 256
export const RELATION_VALUES_MAX: number = 64
/** Institutions that one CA may act for, and institutions in genesis: more than validate, since observers are admitted too. */
export const INSTITUTIONS_MAX: number = 1_000
export const REPLICAS_MAX: number = 16
export const AUTHORITY_KEYS_MAX: number = 64
/** One half of the evidence of a fault: a signed statement, or a VIEW-CHANGE with its certificate. */
export const EVIDENCE_BYTES_MAX: number = 24 * 1024
/** Height above its own head up to which a peer passes gossip on that it cannot check yet. */
export const FUTURE_HEIGHTS_MAX: number = 100_000

/** One chunk of a snapshot: some 256 KiB, unless somebody registers many names that hash alike. */
export const CHUNK_BYTES_MAX: number = 64 * 1024 * 1024
export const CHUNK_ENTRIES_MAX: number = 1_000_000
/** Nodes of the state's tree at the depth of the chunks. */
export const MANIFEST_NODES_MAX: number = 16_384
export const MANIFEST_BYTES_MAX: number = 1024 * 1024 + 64 * 1024
/** A name in the state: ids, numbers, and codes of a policy's scope and grantee. */
export const STATE_KEY_BYTES_MAX: number = 1024

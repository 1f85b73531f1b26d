// The door of wire for bytes: everything that others encode and decode, by name. Canonical DAG-CBOR tuples, a limit on everything
// (limits.ts), WireFault on anything else. The files behind it: shape.ts (schemas), reader.ts (strict reading), operations-, request-,
// block-, messages-, stored- and genesis-codec.ts. Not here: signatures (verify.ts, sign.ts).

export {
  blockToJson,
  certificateToJson,
  decodeBlock,
  decodeHeader,
  encodeHeader,
  makeBlock,
  requestsRootOf,
} from './block-codec.ts'
export { WireFault } from './fault.ts'
export {
  chainIdOf,
  decodeGenesis,
  encodeGenesis,
  genesisCommittee,
  genesisToJson,
  parseGenesis,
} from './genesis-codec.ts'
export {
  decodeCertificate,
  decodeMessage,
  encodeCertificate,
  encodeMessage,
  messageSignedBytes,
} from './messages-codec.ts'
export { operationFromJson, operationToJson, outcomeToJson } from './operations-codec.ts'
export {
  decodeRequest,
  decodeRequestBatch,
  encodeRequest,
  encodeRequestBatch,
  encodeStatement,
  requestSignedBytes,
  requestToJson,
  sealRequest,
} from './request-codec.ts'
export {
  decodeAnchor,
  decodeChunk,
  decodeHandover,
  decodeManifest,
  decodeSnapshotQuestion,
  encodeAnchor,
  encodeChunk,
  encodeHandover,
  encodeManifest,
  encodeSnapshotQuestion,
  type SnapshotQuestion,
} from './snapshot-codec.ts'
export {
  decodeBlockBatch,
  decodeKeptBlock,
  decodeOutcomes,
  decodeStoredBlock,
  decodeVoteRecord,
  encodeBlockBatch,
  encodeKeptBlock,
  encodeOutcomes,
  encodeStoredBlock,
  encodeVoteRecord,
  storedOfKept,
} from './stored-codec.ts'

// The files that all peers of a network share beside genesis: peers.json (whom to dial) and swarm.key (the private-network key in
// go-libp2p's text format, so that other libp2p tools read it). Peers that hold another swarm key fail the Noise handshake.
// Not here: config.json (config.ts), who is admitted to the chain (genesis and the ledger).

import { EmrmError } from './model/errors.ts'
import { fromHex, toHex } from './model/hash.ts'
import { isHexadecimal, type PeerId } from './model/ids.ts'
import { readList, readObject, readText, refuse } from './shape.ts'

/** More than any network of 200 validators and their observers needs. */
const PEERS_MAX = 4096
const ADDRESSES_MAX = 16

export type PeerEntry = {
  readonly name: string
  readonly peerId: PeerId
  /** Multiaddrs without the /p2p part, for example /dns4/emrm.hospital.example/tcp/9710. */
  readonly addresses: readonly string[]
}

/** Throws EmrmError `config-invalid`. */
export function parsePeers(json: unknown, file: string): readonly PeerEntry[] {
  const entries = readList(json, file, PEERS_MAX, (item, where) => {
    const entry = readObject(item, where, ['name', 'peerId', 'addresses'])
    return {
      name: readText(entry['name'], `${where}.name`, 128),
      peerId: readPeerId(entry['peerId'], `${where}.peerId`),
      addresses: readList(entry['addresses'], `${where}.addresses`, ADDRESSES_MAX, readAddress),
    }
  })
  const seen = new Set<string>()
  for (const { peerId } of entries) {
    if (seen.has(peerId)) throw refuse(`${file}: peer id ${peerId}`, 'stands twice')
    seen.add(peerId)
  }
  return entries
}

/** A multiaddr over IP or DNS and TCP; others are refused because the peer speaks TCP only. */
export function readAddress(value: unknown, where: string): string {
  const text = readText(value, where)
  const [empty, network, host, tcp, port, ...rest] = text.split('/')
  const named = empty === '' && ['ip4', 'ip6', 'dns', 'dns4', 'dns6'].includes(network ?? '') && (host ?? '') !== ''
  if (!named || tcp !== 'tcp' || !isPort(port ?? '') || rest.length > 0)
    throw refuse(where, `must be an address like /ip4/192.0.2.7/tcp/9710 or /dns4/host.example/tcp/9710, not ${text}`)
  return text
}

const isPort = (text: string): boolean => /^[0-9]{1,5}$/.test(text) && Number(text) <= 65535

function readPeerId(value: unknown, where: string): PeerId {
  const text = readText(value, where, 64)
  // Ed25519 peer ids only: an institution's key is its peer key. The adapter decodes the base58 text and checks the rest.
  if (!/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/.test(text)) throw refuse(where, 'must be an Ed25519 peer id (12D3KooW…)')
  return text as PeerId
}

const SWARM_KEY_HEAD = '/key/swarm/psk/1.0.0/\n/base16/\n'

export const printSwarmKey = (key: Uint8Array): string => `${SWARM_KEY_HEAD}${toHex(key)}\n`

/** 32 bytes. Throws EmrmError `swarm-key-invalid`; the message never shows the key. */
export function parseSwarmKey(text: string, file: string): Uint8Array {
  const lines = text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
  const [head, encoding, digits, ...rest] = lines
  const hexadecimal = digits?.toLowerCase() ?? ''
  if (head !== '/key/swarm/psk/1.0.0/' || encoding !== '/base16/' || !isHexadecimal(hexadecimal, 64) || rest.length > 0)
    throw new EmrmError(
      'swarm-key-invalid',
      `${file} is not a swarm key (three lines: /key/swarm/psk/1.0.0/, /base16/, 64 hexadecimal digits); get the network's file from the authority`,
      { file },
    )
  return fromHex(hexadecimal)
}

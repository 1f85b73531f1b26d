// The certificate of a block of a benchmark's chain: real signatures of three of four validators. Not here: the chain (chain.ts, disk.ts).

import type { Block } from '../../src/model/block.ts'
import type { ValidatorIndex, View } from '../../src/model/ids.ts'
import type { DecideCertificate } from '../../src/model/messages.ts'
import { signMessage } from '../../src/wire/verify.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { keyOf } from '../wire/samples.ts'

export function certificateOf({ chainId, committee }: Cluster, block: Block): DecideCertificate {
  const { height } = block.header
  const place = { height, view: 0 as View, id: block.id }
  const votes = [0, 1, 2].map(i => {
    const sender = i as ValidatorIndex
    const signing = { chainId, committee, signer: keyOf(`hospital ${i}`) }
    return { sender, signature: signMessage({ type: 'BLOCK-ID', ...place, sender }, signing).signature }
  })
  return { path: 'SLOW', ...place, votes }
}

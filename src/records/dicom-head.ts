// What the first bytes of a DICOM file (PS3.10) say of it: modality and study date, for the custodian's own index. Nothing else is read, and
// whatever is odd gives null. Not here: reading a whole object (deidentify/dicom-file.ts).

export type DicomHead = {
  /** Defined term, as CT or MR. */
  readonly modality: string | null
  /** `YYYY-MM-DD`. */
  readonly studyDate: string | null
}

const MAGIC_END = 132
const IMPLICIT = '1.2.840.10008.1.2'
/** Deflated, and explicit with the high byte first: their data set does not read like the rest. */
const UNREADABLE = ['1.2.840.10008.1.2.1.99', '1.2.840.10008.1.2.2']
const TRANSFER_SYNTAX = 0x0002_0010
const STUDY_DATE = 0x0008_0020
const MODALITY = 0x0008_0060
/** Value representations whose length has four bytes behind two reserved ones. */
const LONG = ['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']

export function dicomHead(head: Uint8Array): DicomHead {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length)
  const found = new Map<number, string>()
  let at = MAGIC_END
  let implicit = false
  // Elements come in the order of their tags, so what we want is found or passed soon.
  while (at + 8 <= bytes.length) {
    const tag = bytes.readUInt16LE(at) * 0x10000 + bytes.readUInt16LE(at + 2)
    if (tag > MODALITY) break
    if (tag > 0x0002_ffff && !implicit && found.has(TRANSFER_SYNTAX)) {
      const syntax = found.get(TRANSFER_SYNTAX) as string
      if (UNREADABLE.includes(syntax)) break
      implicit = syntax === IMPLICIT
    }
    const long = !implicit && LONG.includes(bytes.toString('latin1', at + 4, at + 6))
    if (long && at + 12 > bytes.length) break
    const start = at + (long ? 12 : 8)
    const length = implicit
      ? bytes.readUInt32LE(at + 4)
      : long
        ? bytes.readUInt32LE(at + 8)
        : bytes.readUInt16LE(at + 6)
    // A sequence of undefined length cannot be skipped; none stands before the modality in a sound file.
    if (start + length > bytes.length) break
    if (tag === TRANSFER_SYNTAX || tag === STUDY_DATE || tag === MODALITY)
      found.set(tag, bytes.toString('latin1', start, start + Math.min(length, 64)).replace(/[\0 ]+$/, ''))
    at = start + length
  }
  const modality = found.get(MODALITY) ?? ''
  const date = /^(\d{4})(\d\d)(\d\d)$/.exec(found.get(STUDY_DATE) ?? '')
  return {
    modality: /^[A-Z0-9]{1,16}$/.test(modality) ? modality : null,
    studyDate: date === null ? null : `${date[1]}-${date[2]}-${date[3]}`,
  }
}

// How full a vault is, in words: for the doctor and the command line. Not here: counting (records/vault-limit.ts).

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Decimal, as disks and bills say it. */
export function byteText(bytes: number): string {
  const step = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  const value = bytes / 1000 ** step
  return `${step === 0 ? value : value.toFixed(1)} ${UNITS[step]}`
}

export function usageText(usage: {
  readonly usedBytes: number | null
  readonly quotaBytes: number | null
  readonly freeBytes?: number | null
}): string {
  const { usedBytes, quotaBytes, freeBytes = null } = usage
  const used = usedBytes === null ? 'being counted' : `${byteText(usedBytes)} used`
  const limit = quotaBytes === null ? 'no limit set' : `limit ${byteText(quotaBytes)}`
  return freeBytes === null ? `${used}, ${limit}` : `${used}, ${limit}, ${byteText(freeBytes)} free where it is`
}

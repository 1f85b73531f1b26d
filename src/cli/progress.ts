// How far a transfer is, on a terminal: stage, bar, percent, bytes, rate and the time that is left, in one line of stderr that is written
// over. Silent when stderr is no terminal, so that scripts and logs stay clean. Not here: what is counted (records.ts, access.ts).

import { progress, type Session } from './session.ts'

const REDRAW_MS = 100
const BAR_CELLS = 24
const MiB = 1_048_576
/** The rate is that of the last few seconds: of a resumed transfer the first bytes came from the disk. */
const RATE_OVER_MS = 3_000

export type ByteProgress = {
  /** `total` null: nobody knows how much there is. */
  show(stage: string, bytes: number, total: number | null): void
}

export function makeByteProgress(session: Session, nowMs: () => number = () => performance.now()): ByteProgress {
  let stageShown = ''
  let drawnMs = Number.NEGATIVE_INFINITY
  let marks: { readonly atMs: number; readonly bytes: number }[] = []
  return {
    show(stage, bytes, total) {
      const atMs = nowMs()
      if (stage !== stageShown) marks = []
      // What is full is shown at once: it may be the last line of its stage.
      else if (atMs - drawnMs < REDRAW_MS && bytes !== total) return
      stageShown = stage
      drawnMs = atMs
      marks = [...marks.filter(mark => atMs - mark.atMs <= RATE_OVER_MS), { atMs, bytes }]
      const first = marks[0] ?? { atMs, bytes }
      const rate = atMs > first.atMs ? ((bytes - first.bytes) / (atMs - first.atMs)) * 1_000 : 0
      progress(session, lineOf(stage, bytes, total, rate))
    },
  }
}

/** `rate`: bytes in a second, 0 while unknown. */
export function lineOf(stage: string, bytes: number, total: number | null, rate: number): string {
  if (bytes === 0 && total === null) return stage
  const speed = rate > 0 ? `  ${mebi(rate)} MiB/s` : ''
  if (total === null || total <= 0) return `${stage}  ${mebi(bytes)} MiB${speed}`
  const share = Math.min(1, bytes / total)
  const full = Math.round(share * BAR_CELLS)
  const bar = `[${'#'.repeat(full)}${'-'.repeat(BAR_CELLS - full)}]`
  const left = rate > 0 && bytes < total ? `  ${Math.ceil((total - bytes) / rate)} s left` : ''
  const percent = String(Math.round(share * 100)).padStart(3)
  return `${stage}  ${bar} ${percent} %  ${mebi(bytes)} of ${mebi(total)} MiB${speed}${left}`
}

const mebi = (bytes: number): string => (bytes / MiB).toFixed(1)

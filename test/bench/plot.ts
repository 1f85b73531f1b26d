// A line chart as SVG, for benchmark output: one x axis, one y axis from zero, a few series. Not here: what is measured.

export type Series = { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }

const WIDTH = 720
const HEIGHT = 360
const LEFT = 70
const RIGHT = 20
const TOP = 40
const BOTTOM = 50
const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#8250df']
const TICKS = 5

export function lineChart(options: {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly series: readonly Series[]
}): string {
  const points = options.series.flatMap(({ points }) => points)
  const xMax = Math.max(1, ...points.map(([x]) => x))
  const yMax = Math.max(1, ...points.map(([, y]) => y)) * 1.1
  const px = (x: number): string => (LEFT + (x / xMax) * (WIDTH - LEFT - RIGHT)).toFixed(1)
  const py = (y: number): string => (HEIGHT - BOTTOM - (y / yMax) * (HEIGHT - TOP - BOTTOM)).toFixed(1)
  const text = (x: number | string, y: number | string, anchor: string, words: string): string =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`
  const ticks = Array.from({ length: TICKS + 1 }, (_, i) => i / TICKS)
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(WIDTH / 2, 20, 'middle', options.title),
    text(WIDTH / 2, HEIGHT - 10, 'middle', options.x),
    text(10, TOP - 10, 'start', options.y),
    ...ticks.flatMap(part => [
      `<line x1="${LEFT}" y1="${py(part * yMax)}" x2="${WIDTH - RIGHT}" y2="${py(part * yMax)}" stroke="#ddd"/>`,
      text(LEFT - 8, Number(py(part * yMax)) + 4, 'end', short(part * yMax)),
      text(px(part * xMax), HEIGHT - BOTTOM + 18, 'middle', short(part * xMax)),
    ]),
    ...options.series.flatMap(({ name, points: line }, i) => {
      const colour = COLOURS[i % COLOURS.length]
      const drawn = line.map(([x, y]) => `${px(x)},${py(y)}`).join(' ')
      return [
        `<polyline points="${drawn}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        `<text x="${LEFT + 10}" y="${TOP + 14 + 16 * i}" fill="${colour}">${escaped(name)}</text>`,
      ]
    }),
    '</svg>',
  ]
  return `${parts.join('\n')}\n`
}

const short = (value: number): string =>
  value >= 1_000 ? `${Number((value / 1_000).toPrecision(3))}k` : String(Number(value.toPrecision(3)))

const escaped = (words: string): string =>
  words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

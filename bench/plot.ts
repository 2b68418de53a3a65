/** One line of a plot. */
export interface Series {
  readonly name: string
  /** In the order of `at`. */
  readonly points: readonly { readonly at: number; readonly value: number }[]
}

export interface Axis {
  readonly label: string
  /** Powers of ten are equally far apart; what is not above 0 is left out. Else the axis begins at 0. */
  readonly log?: boolean
  readonly format: (value: number) => string
}

/** Series that share a y axis. Panels stand one below the other and share the x axis. */
export interface Panel {
  readonly y: Axis
  readonly series: readonly Series[]
  /** Drawn as a dashed line. */
  readonly bar?: number
}

export interface Plot {
  readonly title: string
  readonly x: Axis
  readonly panels: readonly Panel[]
}

const width = 720
const panelHeight = 250
const margin = { left: 72, right: 44, top: 34, bottom: 46 }
const colors = ['#06c', '#393', '#c60', '#939', '#999', '#066']

interface Scale {
  place(value: number): number
  readonly ticks: readonly number[]
}

/** 1, 2 or 5 times a power of ten: about `count` steps up to `end`. */
function roundStep(end: number, count: number): number {
  const rough = end / count
  const power = 10 ** Math.floor(Math.log10(rough))
  return ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power
}

/** From values to places between `from` and `to`. */
function scaleOf(values: readonly number[], log: boolean, from: number, to: number): Scale {
  if (log) {
    const positive = values.filter((value) => value > 0)
    const low = Math.floor(Math.log10(Math.min(...positive)) + 1e-9)
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive)) - 1e-9))
    return {
      place: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from),
      ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)),
    }
  }
  const most = Math.max(...values, Number.MIN_VALUE)
  const step = roundStep(most, 5)
  const end = Math.ceil(most / step) * step
  return {
    place: (value) => from + (value / end) * (to - from),
    ticks: Array.from({ length: Math.round(end / step) + 1 }, (_, i) => i * step),
  }
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;')
}

function textAt(left: number, top: number, anchor: string, content: string, more = ''): string {
  return `<text x="${left.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}"${more}>${escaped(content)}</text>`
}

function drawPanel(panel: Panel, x: Axis, xScale: Scale, top: number): string[] {
  const values = panel.series.flatMap(({ points }) => points.map(({ value }) => value))
  const bottom = top + panelHeight - margin.bottom
  const yValues = panel.bar === undefined ? values : [...values, panel.bar]
  const y = scaleOf(yValues, panel.y.log === true, bottom, top)
  const right = width - margin.right
  const across = (value: number, style: string): string =>
    `<path d="M${margin.left} ${y.place(value).toFixed(1)}H${right}" ${style}/>`
  const line = ({ points }: Series, color: string): string => {
    const drawn = points.filter(
      ({ at, value }) => (x.log !== true || at > 0) && (panel.y.log !== true || value > 0),
    )
    const places = drawn.map(
      ({ at, value }) => [xScale.place(at).toFixed(1), y.place(value).toFixed(1)] as const,
    )
    return [
      `<polyline fill="none" stroke="${color}" stroke-width="2" points="${places.map((place) => place.join(',')).join(' ')}"/>`,
      ...places.map(([left, height]) => `<circle cx="${left}" cy="${height}" r="2.5" fill="${color}"/>`),
    ].join('\n')
  }
  return [
    textAt(margin.left, top - 8, 'start', panel.y.label, ' font-weight="bold"'),
    ...y.ticks.flatMap((tick) => [
      across(tick, 'stroke="#ddd"'),
      textAt(margin.left - 8, y.place(tick) + 4, 'end', panel.y.format(tick)),
    ]),
    ...xScale.ticks.map((tick) => textAt(xScale.place(tick), bottom + 18, 'middle', x.format(tick))),
    ...(panel.bar === undefined ? [] : [across(panel.bar, 'stroke="#c00" stroke-dasharray="6 4"')]),
    ...panel.series.flatMap((series, i) => {
      const color = colors[i % colors.length] ?? ''
      const name =
        panel.series.length > 1
          ? [textAt(right - 4, top + 14 + 16 * i, 'end', series.name, ` fill="${color}"`)]
          : []
      return [line(series, color), ...name]
    }),
  ]
}

/** Draws a plot as SVG. */
export function drawPlot({ title, x, panels }: Plot): string {
  const height = margin.top + panels.length * panelHeight + 16
  const places = panels.flatMap(({ series }) => series.flatMap(({ points }) => points.map(({ at }) => at)))
  const xScale = scaleOf(places, x.log === true, margin.left, width - margin.right)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#333">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    textAt(margin.left, 16, 'start', title, ' font-size="13" font-weight="bold"'),
    ...panels.flatMap((panel, i) => drawPanel(panel, x, xScale, margin.top + 18 + i * panelHeight)),
    textAt((margin.left + width) / 2, height - 8, 'middle', x.label),
    '</svg>\n',
  ].join('\n')
}

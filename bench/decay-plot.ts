import { formatNumber } from './report.js'

/** One line of the plot: a name, and a value at each place, as a share of the first. */
export interface Curve {
  readonly name: string
  readonly color: string
  readonly points: readonly { readonly at: number; readonly share: number }[]
}

const width = 720
const height = 320
const margin = { left: 52, right: 16, top: 32, bottom: 40 }

/** Draws shares over points taken, with the bar as a dashed line. */
export function plotDecay(title: string, curves: readonly Curve[], bar: number): string {
  const all = curves.flatMap((curve) => curve.points)
  const last = Math.max(1, ...all.map((point) => point.at))
  const most = Math.max(1.2, ...all.map((point) => point.share * 1.05))
  const x = (at: number): number => margin.left + (at / last) * (width - margin.left - margin.right)
  const y = (share: number): number =>
    height - margin.bottom - (share / most) * (height - margin.top - margin.bottom)
  const text = (left: number, top: number, anchor: string, content: string): string =>
    `<text x="${left.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}">${content}</text>`
  const line = (top: number, style: string): string =>
    `<path d="M${margin.left} ${top.toFixed(1)}H${width - margin.right}" ${style}/>`
  const shares = Array.from({ length: Math.floor(most / 0.2) + 1 }, (_, i) => i * 0.2)
  const places = Array.from({ length: 8 }, (_, i) => Math.round((last * i) / 7))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#333">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(margin.left, 18, 'start', title),
    ...shares.flatMap((share) => [
      line(y(share), 'stroke="#ddd"'),
      text(margin.left - 8, y(share) + 4, 'end', `${Math.round(share * 100)} %`),
    ]),
    ...places.map((at) => text(x(at), height - margin.bottom + 18, 'middle', formatNumber(at))),
    text((margin.left + width) / 2, height - 6, 'middle', 'points taken'),
    line(y(bar), 'stroke="#c00" stroke-dasharray="6 4"'),
    ...curves.flatMap((curve, i) => [
      `<polyline fill="none" stroke="${curve.color}" stroke-width="2" points="${curve.points.map((point) => `${x(point.at).toFixed(1)},${y(point.share).toFixed(1)}`).join(' ')}"/>`,
      `<text x="${margin.left + 12}" y="${height - margin.bottom - 12 - 16 * (curves.length - 1 - i)}" fill="${curve.color}">${curve.name}</text>`,
    ]),
    '</svg>\n',
  ].join('\n')
}

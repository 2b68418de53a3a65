import { expect, it } from 'vitest'
import { parseConfig } from '../config/read-config.js'
import { networkOf } from './connections.js'
import { rateAt } from './rate-hours.js'

const config = parseConfig(
  `limits:
  bytesPerSecond:
    in: 10MB
    hours:
      - { days: [sat, sun], from: '00:00', to: '24:00', in: unlimited }
      - { days: [mon, fri], from: '22:00', to: '06:30', in: 20MB, out: 5MB }
      - { from: '08:00', to: '18:00', in: 1MB }
`,
  'test',
)
const rates = config.limits?.bytesPerSecond

it.each([
  ['2026-11-18T12:00:00Z', 'UTC', 1e6, Infinity],
  ['2026-11-18T18:00:00Z', 'UTC', 10e6, Infinity],
  ['2026-11-18T07:59:59Z', 'UTC', 10e6, Infinity],
  ['2026-11-18T07:59:59Z', 'Europe/Berlin', 1e6, Infinity],
  ['2026-11-16T22:00:00Z', 'UTC', 20e6, 5e6],
  ['2026-11-17T06:29:59Z', 'UTC', 20e6, 5e6],
  ['2026-11-17T06:30:00Z', 'UTC', 10e6, Infinity],
  ['2026-11-17T23:00:00Z', 'UTC', 10e6, Infinity],
  ['2026-11-21T03:00:00Z', 'UTC', Infinity, 5e6],
  ['2026-11-21T23:30:00Z', 'UTC', Infinity, Infinity],
  ['2026-11-22T23:30:00Z', 'Asia/Kolkata', 10e6, Infinity],
])('holds the rates of the hour: %s in %s', (time, zone, inward, outward) => {
  expect(rateAt(rates, 'in', zone, Date.parse(time))).toBe(inward)
  expect(rateAt(rates, 'out', zone, Date.parse(time))).toBe(outward)
})

it('holds no rate where there is none', () => {
  expect(rateAt(undefined, 'in', 'UTC', 0)).toBe(Infinity)
})

it.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '::ffff:192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::6', '2001:db8:1:2'],
  ['2001:db8::6', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
])('takes a network of IPv6 for one address: %s', (address, network) => {
  expect(networkOf(address)).toBe(network)
})

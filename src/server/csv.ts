import type { Request, Response } from 'express'
import * as z from 'zod'
import type { Answer } from './route.js'

export const formatQuery = z.strictObject({
  format: z
    .enum(['json', 'csv'])
    .optional()
    .meta({ description: 'Without it, the Accept header says: text/csv, or else JSON' }),
})

type Cell = string | number | boolean | null

/** Rows as JSON or, if that is what the client wants, as CSV (RFC 4180) of `columns`. */
export function rowsAs<Row extends Readonly<Record<string, unknown>>>(
  request: Request,
  response: Response,
  format: 'json' | 'csv' | undefined,
  json: unknown,
  rows: readonly Row[],
  columns: readonly (keyof Row & string)[],
): Answer {
  response.vary('Accept')
  const wanted = format ?? (request.accepts(['application/json', 'text/csv']) === 'text/csv' ? 'csv' : 'json')
  if (wanted === 'json') return { json }
  const lines = rows.map((row) => columns.map((column) => cell(row[column] as Cell)).join(','))
  return { type: 'text/csv; charset=utf-8', text: `${[columns.join(','), ...lines].join('\r\n')}\r\n` }
}

/** null is an empty cell. */
function cell(value: Cell): string {
  const text = value === null ? '' : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

// Asks the ClickHouse at the URL of the first argument with @clickhouse/client; prints what it found as JSON.
import { Readable } from 'node:stream'
import { createClient } from '@clickhouse/client'

const url = process.argv[2]
const log = { level: 127 } // exceptions are asked for below
const client = createClient({ url, log, compression: { request: true, response: true } })
const reader = createClient({ url, log, username: 'reader' })
const session = createClient({ url, log, session_id: 'of-node' })
const found = {}

const rows = async (asked, from = client) => (await from.query({ format: 'JSONEachRow', ...asked })).json()
const refused = async (asking) => {
  try {
    await asking()
    return 'not refused'
  } catch (error) {
    return [error.code, error.type]
  }
}

found['it answers a ping'] = await client.ping()
found['it answers a ping with a query'] = await client.ping({ select: true })

await client.command({
  query: 'CREATE TABLE t (a UInt64, s String, at DateTime64(3), n Nullable(Float64)) ENGINE = MergeTree ORDER BY a',
})
const inserted = await client.insert({
  table: 't',
  format: 'JSONEachRow',
  values: [
    { a: '1', s: "it's", at: '2026-01-01 00:00:00.123', n: null },
    { a: 2, s: 'b\n\t\\', at: 1, n: 1.5 },
  ],
})
found['an insert says how many rows'] = inserted.summary.written_rows
found['rows with bound parameters'] = await rows({
  query: 'SELECT * FROM t WHERE a >= {from:UInt64} AND s IN {names:Array(String)} ORDER BY a',
  query_params: { from: 1, names: ["it's", 'b\n\t\\'] },
})
const { rows: count, data, meta } = await rows({ query: 'SELECT count() AS n FROM t', format: 'JSON' })
found['an answer as JSON'] = { rows: count, data, meta }
found['a setting'] = await rows({
  query: "SELECT toString(getSetting('max_block_size')) AS s",
  clickhouse_settings: { max_block_size: '77' },
})

found['an exception'] = await refused(() => rows({ query: 'SELECT nothing' }))
found['an exception amid an answer'] = await refused(async () => {
  const failing = await client.query({
    query: 'SELECT throwIf(number = 900000) AS a FROM numbers(1000000)',
    format: 'JSONEachRow',
  })
  for await (const some of failing.stream()) some.forEach((row) => row.json())
})

let streamed = 0
let total = 0
const many = await client.query({ query: 'SELECT number AS n FROM numbers(1000000)', format: 'JSONEachRow' })
for await (const some of many.stream()) {
  streamed += some.length
  for (const row of some) total += row.json().n
}
found['a million rows'] = [streamed, total]

await client.command({ query: 'CREATE TABLE streamed (n UInt64) ENGINE = MergeTree ORDER BY n' })
const numbers = Readable.from(Array.from({ length: 100000 }, (_, n) => ({ n })), { objectMode: true })
await client.insert({ table: 'streamed', format: 'JSONEachRow', values: numbers })
found['an insert of a stream'] = await rows({ query: 'SELECT count() AS rows, sum(n) AS total FROM streamed' })
await client.insert({ table: 'streamed', format: 'CSV', values: Readable.from(['100000\n', '100001\n'], { objectMode: false }) })
found['an insert as CSV'] = await rows({ query: 'SELECT count() AS rows FROM streamed WHERE n >= 100000' })

let text = ''
for await (const piece of (await client.exec({ query: 'SELECT 1 FORMAT CSV' })).stream) text += piece
found['an answer as it is'] = text

await session.command({ query: 'CREATE TEMPORARY TABLE kept (a UInt8)' })
await session.insert({ table: 'kept', format: 'JSONEachRow', values: [{ a: 7 }] })
found['a session'] = await rows({ query: 'SELECT a FROM kept' }, session)

const giving_up = new AbortController()
const given_up = client
  .query({ query: 'SELECT sum(sipHash64(number)) AS heavy FROM numbers(1e12)', abort_signal: giving_up.signal })
  .catch(() => {})
const heavy = async () =>
  (await rows({ query: "SELECT query FROM system.processes WHERE query LIKE '%AS heavy%' AND query NOT LIKE '%system.processes%' AND query_kind = 'Select'" }))
    .length
const deadline = Date.now() + 20000
while ((await heavy()) === 0 && Date.now() < deadline);
giving_up.abort()
await given_up
while ((await heavy()) > 0 && Date.now() < deadline);
found['a query that is given up'] = await heavy()

found['a reader reads'] = await rows({ query: 'SELECT count() AS n FROM t' }, reader)
found['a reader writes'] = await refused(() =>
  reader.insert({ table: 't', format: 'JSONEachRow', values: [{ a: 3, s: '' }] }),
)

await Promise.all([client, reader, session].map((one) => one.close()))
console.log(JSON.stringify(found))

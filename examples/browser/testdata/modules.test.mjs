import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../backoff.js';
import { combine, crc32c, encode } from '../crc32c.js';
import { disconnected, fromServer } from '../errors.js';
import { bytes, duration, rounded } from '../format.js';
import { Pieces } from '../lanes.js';
import { Ledger } from '../ledger.js';
import { endpoint, newID, parse } from '../protocol.js';
import { StreamSource } from '../stream.js';

const text = (s) => new TextEncoder().encode(s);

test('CRC-32C is that of RFC 3720, appendix B.4, and of PROTOCOL.md', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  assert.equal(encode(crc32c(text('Hello, world!'))), 'yKEG5Q==');
  assert.equal(encode(0), 'AAAAAA==');
});

test('checksums of parts make that of the whole, wherever it is cut', () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i * 31 >> 3);
  for (const at of [0, 1, 7, 8, 9, 2500, 4999, 5000]) {
    const a = crc32c(bytes.subarray(0, at)), b = crc32c(bytes.subarray(at));
    assert.equal(combine(a, b, 5000 - at), crc32c(bytes));
    assert.equal(crc32c(bytes.subarray(at), a), crc32c(bytes));
  }
});

test('a ledger does not mind order, gaps and repetition', () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i), ledger = new Ledger();
  const note = (from, to) => ledger.note(from, bytes.subarray(from, to), crc32c(bytes.subarray(from, to)));
  note(50, 60); note(0, 10); note(5, 55);
  assert.deepEqual(ledger.missing(0, 100), [[60, 100]]);
  assert.throws(() => ledger.whole(100));
  note(80, 100); note(40, 90); note(0, 100);
  assert.equal(ledger.whole(100), crc32c(bytes));
});

test('pieces cover what is missing, once', () => {
  const MiB = 1 << 20, missing = [[MiB, 50 * MiB], [60 * MiB, 61 * MiB], [70 * MiB, 500 * MiB + 3]];
  const plan = new Pieces(missing, 4), total = plan.size;
  for (let want = MiB; plan.take(want); want *= 1.5);
  const pieces = plan.taken, last = pieces.at(-1);
  assert.equal(plan.size, 0);
  assert.ok(Math.max(...pieces.map((p) => p.end - p.start)) <= total / 8 + MiB, 'one lane has too much');
  assert.ok(last.end - last.start <= 1.5 * MiB, 'the last piece is large');
  for (const [start, end] of missing) {
    let at = start;
    for (const p of pieces.filter((q) => q.start >= start && q.end <= end)) { assert.equal(p.start, at); at = p.end; }
    assert.equal(at, end);
  }
});

test('ids are of the form and never twice', () => {
  const ids = new Set(Array.from({ length: 100 }, newID));
  assert.equal(ids.size, 100);
  for (const id of ids) assert.match(id, /^[\w-]{22}$/);
});

test('messages that are none are told from those that are', () => {
  for (const data of ['', '[', 'null', '{"type":"upload"}', '{}', new ArrayBuffer(1)]) assert.equal(parse(data), null);
  assert.equal(parse('{"type":"ack"}').type, 'ack');
  assert.equal(endpoint('https://a.example/u/#x'), 'wss://a.example/u/');
  assert.throws(() => endpoint('ftp://a.example/'));
});

test('a stream is not read beyond its bound until something is safe', async () => {
  let given = 0;
  const stream = new ReadableStream({ pull: (c) => { c.enqueue(new Uint8Array(1 << 20).fill(given++)); } }, { highWaterMark: 0 });
  const source = new StreamSource(stream, 4 << 20);
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
  let position = 0;
  for (let i = 0; i < 20; i++) {
    if (source.ready(position)) position += (await source.read(position, 1 << 20)).length;
    else await settle();
  }
  assert.equal(position, 4 << 20);
  assert.equal(given, 4);
  assert.equal((await source.read(1 << 20, 10))[0], 1); // sent again after a lost connection
  source.release(2 << 20);
  for (let i = 0; i < 20; i++) { source.ready(position); await settle(); }
  assert.equal(given, 5); // one pull at a time, each asked for
  await assert.rejects(source.read(0, 1), { code: 'stream-failed' });
});

test('one piece larger than the bound does not stop a stream for ever', async () => {
  const pieces = [3 << 20, 5].map((n) => new Uint8Array(n));
  const stream = new ReadableStream({ pull: (c) => { pieces.length ? c.enqueue(pieces.shift()) : c.close(); } }, { highWaterMark: 0 });
  const source = new StreamSource(stream, 1 << 20);
  const more = () => new Promise((resolve) => { source.onmore = () => setTimeout(resolve); });
  assert.equal(source.ready(0, 1 << 20), false);
  await more();
  assert.equal(source.held, 3 << 20);
  assert.equal(source.ready(3 << 20, 1 << 20), false); // all of it may still be on its way
  assert.equal(source.ready(3 << 20, Infinity), false); // none of it is
  await more();
  assert.equal(source.held, (3 << 20) + 5);
});

test('attempts are further and further apart, at random, and not before the server wants them', () => {
  const lost = disconnected('lost'), backoff = new Backoff(Infinity), waits = [];
  for (let i = 0; i < 12; i++) waits.push(backoff.after(lost).wait);
  waits.forEach((wait, i) => {
    const most = Math.min(30_000, 500 * 2 ** i);
    assert.ok(wait >= most / 2 && wait <= most, `attempt ${i} after ${wait} ms`);
  });
  assert.equal(new Set(waits).size, waits.length);
  backoff.reset();
  assert.ok(backoff.after(lost).wait <= 500);
  const { wait, least } = backoff.after(disconnected('The server restarts.', 5000));
  assert.ok(least >= 5000 && least <= 5500 && wait === least);
  assert.throws(() => new Backoff(100).after(disconnected('restarts', 5000)), { code: 'gave-up' });
});

test('what the server refuses again and again is given up, what it asks to repeat is not', () => {
  const refusal = (more) => fromServer({ type: 'error', code: 'internal', detail: 'no', resumable: true, ...more });
  const backoff = new Backoff(Infinity), patient = new Backoff(Infinity);
  for (let i = 0; i < 4; i++) backoff.after(refusal());
  assert.throws(() => backoff.after(refusal()), { code: 'internal' });
  for (let i = 0; i < 20; i++) patient.after(refusal({ 'retry-after-ms': 10 }));
  for (const code of ['superseded', 'bad-message']) assert.throws(() => patient.after(refusal({ code })), { code });
});

test('numbers are as people read them', () => {
  assert.deepEqual([0, 999, 1000, 999_499, 1_000_000, 99_950_000, 5e15].map(bytes), ['0 B', '999 B', '1 kB', '999 kB', '1.0 MB', '100 MB', '5.0 PB']);
  assert.deepEqual([0, 59_001, 90_000, 3_600_000, 49 * 3_600_000].map(duration), ['1 s', '1 min', '2 min', '1 h 0 min', '2 days']);
  assert.equal(rounded('At most 30000000 bytes, not 31 bytes.'), 'At most 30.0 MB, not 31 bytes.');
});

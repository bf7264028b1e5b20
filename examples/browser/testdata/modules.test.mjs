import assert from 'node:assert/strict';
import { test } from 'node:test';
import { combine, crc32c, encode } from '../crc32c.js';
import { cut } from '../lanes.js';
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
  const pieces = cut(missing, 4);
  assert.ok(pieces.length >= 8);
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

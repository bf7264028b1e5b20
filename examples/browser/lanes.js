/**
 * Parallel connections for one upload. They lift what one TCP connection cannot:
 * a long or lossy path.
 *
 * @module
 */

import { Session } from './session.js';

export const LEAST_FOR_LANES = 16 << 20; // bytes; less does not repay a second connection
const LEAST_PIECE = 8 << 20;
const PIECES_PER_LANE = 4; // small pieces share the work between lanes of unequal speed

/**
 * @typedef {object} Piece a range that one lane sends
 * @property {number} start
 * @property {number} end
 * @property {number} received position
 * @property {number} durable position
 */

/**
 * Divides what is missing into pieces for n lanes.
 *
 * @param {[number, number][]} missing
 * @param {number} n
 */
export function cut(missing, n) {
  const total = missing.reduce((sum, [start, end]) => sum + end - start, 0);
  const size = Math.max(LEAST_PIECE, Math.ceil(total / (n * PIECES_PER_LANE)));
  /** @type {Piece[]} */
  const pieces = [];
  for (const [first, last] of missing) {
    for (let start = first; start < last;) {
      let end = Math.min(last, start + size);
      if (last - end < LEAST_PIECE / 2) end = last;
      pieces.push({ start, end, received: start, durable: start });
      start = end;
    }
  }
  return pieces;
}

/**
 * What lanes need of the upload they belong to.
 *
 * @typedef {object} Host
 * @property {import('./source.js').Source} source
 * @property {import('./ledger.js').Ledger} ledger
 * @property {(range: import('./protocol.js').Range) => Promise<import('./protocol.js').Open>} opening
 * @property {(attempt: (connection: import('./connection.js').Connection, got: () => void) => Promise<void>, stop: AbortSignal) => Promise<void>} persist runs an attempt on one connection after the other, until one succeeds
 * @property {() => void} moved called when a piece got further
 */

/**
 * Fills pieces over n lanes. Resolves when the server has received all of them;
 * rejects, and ends all lanes, when one fails for good.
 *
 * @param {Host} host
 * @param {Piece[]} pieces
 * @param {number} n
 * @param {AbortSignal} signal
 */
export async function fill(host, pieces, n, signal) {
  const stop = new AbortController();
  const abort = () => stop.abort();
  signal.addEventListener('abort', abort);
  const queue = [...pieces];
  try {
    await Promise.all(Array.from({ length: Math.min(n, pieces.length) }, () => lane(host, queue, stop.signal)));
  } finally {
    signal.removeEventListener('abort', abort);
    stop.abort();
  }
}

/**
 * Sends one piece after the other, each until the server has it.
 *
 * @param {Host} host
 * @param {Piece[]} queue shared by all lanes
 * @param {AbortSignal} stop
 */
async function lane(host, queue, stop) {
  /** @type {Piece | undefined} */
  let piece = queue.shift();
  await host.persist(async (connection, got) => {
    while (piece) {
      const at = piece;
      const session = new Session(connection, (s) => {
        if (s.received > at.received) got();
        at.received = Math.min(at.end, Math.max(at.start, s.received));
        at.durable = Math.min(at.end, Math.max(at.start, s.durable));
        host.moved();
      });
      const ready = await session.open(await host.opening([at.start, at.end]));
      if (ready.complete) return;
      await session.send(host.source, host.ledger, at.end);
      await session.taken(at.end);
      piece = queue.shift();
    }
  }, stop);
}

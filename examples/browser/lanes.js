/**
 * Parallel connections for one upload. They lift what one TCP connection cannot:
 * a long or lossy path.
 *
 * @module
 */

import { Session } from './session.js';

export const LEAST_FOR_LANES = 16 << 20; // bytes; less does not repay a second connection
const LEAST_PIECE = 1 << 20, FIRST_PIECE = 4 << 20;
const QUICK = 2000, SLOW = 8000; // ms; a piece that took less is followed by a larger one, and the other way round

/**
 * @typedef {object} Piece a range that one lane sends
 * @property {number} start
 * @property {number} end
 * @property {number} received position
 * @property {number} durable position
 */

/**
 * What is left for lanes to take. Lanes are seldom equally fast, so nothing is
 * divided beforehand: towards the end pieces become small, and nobody waits long
 * for the slowest.
 */
export class Pieces {
  /** @type {Piece[]} */
  taken = [];

  #left;
  #lanes;

  /** @param {[number, number][]} missing @param {number} lanes */
  constructor(missing, lanes) {
    this.#left = missing.map(([start, end]) => ({ start, end }));
    this.#lanes = lanes;
  }

  get size() { return this.#left.reduce((sum, { start, end }) => sum + end - start, 0); }

  /**
   * The next piece, of about so many bytes; none when nothing is left.
   *
   * @param {number} want
   * @returns {Piece | undefined}
   */
  take(want) {
    const [first] = this.#left;
    if (!first) return undefined;
    const share = Math.max(LEAST_PIECE, this.size / (2 * this.#lanes));
    const { start } = first;
    let end = Math.min(first.end, start + Math.floor(Math.min(want, share)));
    if (first.end - end < LEAST_PIECE / 2) end = first.end;
    first.start = end;
    if (end === first.end) this.#left.shift();
    const piece = { start, end, received: start, durable: start };
    this.taken.push(piece);
    return piece;
  }
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
 * Fills what is missing over n lanes. Resolves when the server has received all
 * of it; rejects, and ends all lanes, when one fails for good.
 *
 * @param {Host} host
 * @param {Pieces} pieces
 * @param {number} n
 * @param {AbortSignal} signal
 */
export async function fill(host, pieces, n, signal) {
  const stop = new AbortController();
  const abort = () => stop.abort();
  signal.addEventListener('abort', abort);
  try {
    await Promise.all(Array.from({ length: n }, () => lane(host, pieces, stop.signal)));
  } finally {
    signal.removeEventListener('abort', abort);
    stop.abort();
  }
}

/**
 * Sends one piece after the other, each until the server has it.
 *
 * @param {Host} host
 * @param {Pieces} pieces shared by all lanes
 * @param {AbortSignal} stop
 */
async function lane(host, pieces, stop) {
  let want = FIRST_PIECE, began = Date.now();
  let piece = pieces.take(want);
  if (!piece) return; // others have taken everything
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
      const took = Date.now() - began;
      if (took < QUICK) want *= 2;
      else if (took > SLOW) want = Math.max(LEAST_PIECE, want / 2);
      began = Date.now();
      piece = pieces.take(want);
    }
  }, stop);
}

/**
 * The work of an upload: one connection after the other, until somebody has the
 * file.
 *
 * @module
 */

import { Backoff } from './backoff.js';
import { Connection } from './connection.js';
import { crc32c, encode } from './crc32c.js';
import { UploadError, changed, disconnected } from './errors.js';
import { LEAST_FOR_LANES, Pieces, fill } from './lanes.js';
import { Ledger } from './ledger.js';
import { Session } from './session.js';

const BLOCK = 1 << 20;
const CANCEL_WITHIN = 10_000; // ms; who cannot reach the server leaves the upload to its expiry

/**
 * @typedef {'connecting' | 'uploading' | 'verifying' | 'delivering' | 'waiting-for-space' | 'waiting'} Phase
 *
 * @typedef {object} Plan what is to be done
 * @property {string} url absolute
 * @property {string} id
 * @property {string} name
 * @property {string} type media type
 * @property {Record<string, string>} [metadata]
 * @property {string | ((id: string) => string | Promise<string>)} [ticket]
 * @property {'sha-256'} [wantDigest]
 * @property {number} lanes
 * @property {number} giveUpAfter ms
 *
 * @typedef {object} Listener is told how it goes
 * @property {(phase: Phase, error?: UploadError, retryAt?: number) => void} enter
 * @property {() => void} moved
 */

/** @typedef {import('./lanes.js').Host} Host */

/** @implements {Host} */
export class Transfer {
  received = 0; // bytes
  durable = 0; // bytes
  ledger = new Ledger();

  #plan;
  #listener;
  #compared = false; // what the server had before was compared with the source
  #proven = false; // the server compared all of it with the source
  #waitingForSpace = false; // the server waits for room
  #furthest = { received: 0, durable: 0 }; // positions the server was at, before it took bytes back
  #running = 0; // loops of persist
  /** @type {Set<Connection>} */
  #connections = new Set();
  /** @type {Set<(reason: 'hurry') => void>} what ends pauses */
  #pauses = new Set();
  /** @type {{ before: number, pieces: Pieces } | null} */
  #lanes = null;

  /**
   * @param {import('./source.js').Source} source
   * @param {Plan} plan
   * @param {Listener} listener
   */
  constructor(source, plan, listener) {
    this.source = source;
    this.#plan = plan;
    this.#listener = listener;
  }

  /**
   * Goes on until the upload is done, fails for good, or is stopped.
   *
   * @param {AbortSignal} signal
   */
  async run(signal) {
    for (;;) {
      this.#listener.enter('connecting');
      this.#waitingForSpace = false;
      const { done, missing } = await this.persist((c, got) => this.#attempt(c, got), signal);
      if (done) {
        await this.#prove(done);
        return done;
      }
      await this.#fill(missing, signal);
    }
  }

  /**
   * Runs an attempt on one connection after the other, until one succeeds.
   *
   * @template T
   * @param {(connection: Connection, got: () => void) => Promise<T>} attempt calls got when it got further
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  async persist(attempt, signal) {
    const backoff = new Backoff(this.#plan.giveUpAfter);
    this.#running++;
    try {
      for (;;) {
        const connection = new Connection(this.#plan.url, signal);
        this.#connections.add(connection);
        try {
          return await attempt(connection, () => backoff.reset());
        } catch (error) {
          if (signal.aborted || !(error instanceof UploadError)) throw error;
          connection.close();
          const { wait, least } = backoff.after(error);
          await this.#pause(wait, least, error, signal);
        } finally {
          connection.close();
          this.#connections.delete(connection);
        }
      }
    } finally {
      this.#running--;
    }
  }

  /**
   * Waits between two attempts, not as long when there is a reason to hurry.
   *
   * @param {number} wait ms
   * @param {number} least ms
   * @param {UploadError} error
   * @param {AbortSignal} signal
   */
  async #pause(wait, least, error, signal) {
    const began = Date.now();
    /** @type {(_: unknown) => void} */
    let end = () => {};
    const over = new Promise((resolve) => { end = resolve; });
    const hurry = () => { if (Date.now() - began >= least) end('hurry'); };
    const timer = setTimeout(end, wait);
    signal.addEventListener('abort', end);
    this.#pauses.add(hurry);
    if (this.#pauses.size === this.#running) this.#listener.enter('waiting', error, began + wait);
    await over;
    const all = this.#pauses.size === this.#running;
    this.#pauses.delete(hurry);
    signal.removeEventListener('abort', end);
    clearTimeout(timer);
    if (signal.aborted) throw error;
    if (all) this.#listener.enter('connecting');
  }

  /** The network is back, or the person: do not wait, and do not trust old connections. */
  hurry() {
    for (const hurry of this.#pauses) hurry('hurry');
    for (const connection of this.#connections) connection.suspect();
  }

  /**
   * The message that opens the upload, or a range of it.
   *
   * @param {import('./protocol.js').Range} [range]
   */
  async opening(range) {
    const { id, name, type, metadata, ticket, wantDigest } = this.#plan;
    /** @type {string | undefined} */
    let granted;
    try {
      granted = typeof ticket === 'function' ? await ticket(id) : ticket;
    } catch (error) {
      throw disconnected(`The page got no ticket for this upload: ${error instanceof Error ? error.message : error}`);
    }
    /** @type {import('./protocol.js').Open} */
    const message = {
      type: 'open', id, name: name || undefined, 'media-type': type || undefined, length: this.source.size ?? undefined,
      metadata, 'want-digest': wantDigest, ticket: granted, range,
      'ping-timeout-ms': -1, // a browser never pings
    };
    return message;
  }

  /**
   * Sends all that is missing on one connection, or finds that lanes should.
   *
   * @param {Connection} connection
   * @param {() => void} got
   * @returns {Promise<{ done?: import('./protocol.js').Done, missing: [number, number][] }>}
   */
  async #attempt(connection, got) {
    const session = new Session(connection, (s, state) => this.#follow(s, state, got));
    const ready = await session.open(await this.opening());
    await this.#compare(ready, connection);
    if (ready.complete) {
      this.#listener.enter('verifying');
      return { done: await session.done(), missing: [] };
    }
    const missing = this.#forLanes(ready);
    if (missing.length > 0) return { missing };
    this.#listener.enter('uploading');
    await session.send(this.source, this.ledger);
    this.#listener.enter('verifying');
    const length = /** @type {number} */ (this.source.size);
    await this.#read(0, length);
    session.finish(length, this.ledger.whole(length));
    this.#proven = true;
    return { done: await session.done(), missing: [] };
  }

  /** @param {Session} session @param {string | undefined} state @param {() => void} got */
  #follow(session, state, got) {
    if (state === 'waiting-for-space') {
      this.#waitingForSpace = true;
      return this.#listener.enter('waiting-for-space');
    }
    if (state) return this.#tend(state);
    if (this.#waitingForSpace) {
      this.#waitingForSpace = false;
      this.#listener.enter('uploading');
    }
    // What was taken back and is sent again gets nobody further: a line that
    // damages everything would go on for ever.
    const { received, durable } = this.#furthest;
    if (session.received > received || session.durable > durable) got();
    this.#furthest = { received: Math.max(received, session.received), durable: Math.max(durable, session.durable) };
    this.received = session.received;
    this.durable = session.durable;
    this.source.release(session.settled);
    this.#listener.moved();
  }

  /**
   * What the server does with an upload that takes no more bytes. It stores it
   * first, and tells no more positions.
   *
   * @param {string} state
   */
  #tend(state) {
    if (state !== 'storing') this.received = this.durable = this.source.size ?? this.received;
    this.#listener.enter(state === 'delivering' ? 'delivering' : 'verifying');
    this.#listener.moved();
  }

  /**
   * Compares the source with what the server has of it from before: bytes of two
   * files must never become one.
   *
   * @param {import('./protocol.js').Ready} ready
   * @param {Connection} connection
   */
  async #compare({ have }, connection) {
    if (this.#compared || !this.source.seekable) return;
    const size = /** @type {number} */ (this.source.size);
    if (have.length > 0) this.#listener.enter('verifying');
    for (const { range: [start, end], crc32c: theirs } of have) {
      if (end > size) throw changed();
      await this.#read(start, end, connection);
      const ours = this.ledger.of(start, end);
      if (ours === null || encode(ours) !== theirs) throw changed();
    }
    this.#compared = true;
  }

  /**
   * Reads what the ledger does not know between two positions. It does not begin
   * again when it is interrupted.
   *
   * @param {number} start
   * @param {number} end
   * @param {Connection} [connection] whose loss interrupts it
   */
  async #read(start, end, connection) {
    for (const [from, to] of this.ledger.missing(start, end)) {
      const reader = this.source.reader();
      for (let at = from; at < to;) {
        const bytes = await reader.read(at, Math.min(BLOCK, to - at));
        await connection?.until(() => true);
        this.ledger.add(at, at + bytes.length, crc32c(bytes));
        at += bytes.length;
      }
    }
  }

  /**
   * What lanes should fill.
   *
   * @param {import('./protocol.js').Ready} ready
   */
  #forLanes({ missing, cursor }) {
    const size = this.source.size;
    if (this.#plan.lanes < 2 || !this.source.seekable || size === null || size - cursor < LEAST_FOR_LANES) return [];
    return missing.map(([start, end]) => /** @type {[number, number]} */ ([start, end ?? size]));
  }

  /** @param {[number, number][]} missing @param {AbortSignal} signal */
  async #fill(missing, signal) {
    const pieces = new Pieces(missing, this.#plan.lanes);
    this.#lanes = { before: /** @type {number} */ (this.source.size) - pieces.size, pieces };
    try {
      await fill(this, pieces, this.#plan.lanes, signal);
    } finally {
      this.#lanes = null;
    }
  }

  /** Called when a lane got further. */
  moved() {
    if (!this.#lanes) return;
    const { before, pieces: { taken } } = this.#lanes;
    this.received = taken.reduce((sum, p) => sum + p.received - p.start, before);
    this.durable = taken.reduce((sum, p) => sum + p.durable - p.start, before);
    this.#listener.enter('uploading');
    this.#listener.moved();
  }

  /**
   * For an upload that turned out to be finished already, by an earlier page or
   * another tab: is it the same file?
   *
   * @param {import('./protocol.js').Done} done
   */
  async #prove({ length, digest, cancelled }) {
    if (cancelled) throw new UploadError('not-found', 'The upload was cancelled elsewhere.');
    if (!this.source.seekable || this.#proven && length === this.source.size) return;
    if (length !== this.source.size) throw changed();
    await this.#read(0, length);
    if (digest?.crc32c !== undefined && digest.crc32c !== encode(this.ledger.whole(length))) throw changed();
  }

  /**
   * Has the server delete what it has. Resolves with what it said; null when it
   * could not be reached, and then it forgets the upload in its own time.
   */
  async cancel() {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), CANCEL_WITHIN);
    const connection = new Connection(this.#plan.url, stop.signal);
    try {
      const session = new Session(connection, () => {});
      await session.open({ ...await this.opening(), resume: true });
      session.cancel();
      return await session.done();
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
      connection.close();
    }
  }
}

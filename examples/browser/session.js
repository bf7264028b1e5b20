/**
 * One opening of an upload on one connection: a conversation from `open` to
 * `done`, or to the loss of the connection.
 *
 * @module
 */

import { combine, crc32c, encode } from './crc32c.js';
import { disconnected, fromServer, UploadError } from './errors.js';

/** @typedef {import('./protocol.js').Ready} Ready */

export class Session {
  /** @type {Ready | null} */
  ready = null;
  received = 0; // position up to which the server has taken bytes in
  durable = 0; // position up to which they are on its stable storage
  /** What will be asked for no more, by nothing that may happen. */
  settled = 0;

  #connection;
  #progress;
  /** @type {import('./protocol.js').Done | null} */
  #done = null;
  #crc = 0; // of what was sent here
  #checked = 0; // position of the last check
  /** @type {number[]} positions of checks of which nothing was heard yet */
  #pending = [];

  /**
   * @param {import('./connection.js').Connection} connection
   * @param {(session: Session, state?: string) => void} progress called when the server has said how far it is, or what it does
   */
  constructor(connection, progress) {
    this.#connection = connection;
    this.#progress = progress;
  }

  /**
   * Opens the upload, or a range of it.
   *
   * @param {import('./protocol.js').Open} message
   * @returns {Promise<Ready>}
   */
  async open(message) {
    const c = this.#connection;
    this.ready = null;
    c.listen((m) => this.#hear(m, message.id));
    await c.until(() => c.opened);
    c.say(message);
    await c.until(() => this.ready !== null);
    return /** @type {Ready} */ (/** @type {unknown} */ (this.ready));
  }

  /**
   * Sends what lies between the cursor and an end, which is that of the source
   * if none is given, and checks that it arrived as it was.
   *
   * @param {import('./source.js').Source} source
   * @param {import('./ledger.js').Ledger} ledger is told what was sent
   * @param {number} [end]
   */
  async send(source, ledger, end) {
    const c = this.#connection, reader = source.reader();
    const limit = () => end ?? source.size ?? Infinity;
    source.onmore = () => c.poke();
    for (;;) {
      await c.until(() => c.position >= limit() || source.ready(c.position, this.#keep));
      if (c.position >= limit()) break;
      let room = 0;
      await c.until(() => (room = c.allowance(limit() - c.position)) > 0);
      const bytes = await reader.read(c.position, room);
      this.#send(bytes, ledger);
      if (c.position - this.#checked >= this.#every(source)) this.#check();
    }
    if (c.position > this.#checked) this.#check();
  }

  /**
   * What a source that keeps what it gave may keep before it gives more: as much
   * as may be on its way. With nothing on its way there is nothing to wait for.
   */
  get #keep() {
    return this.durable >= this.#connection.position ? Infinity : this.#connection.window;
  }

  /** @param {import('./source.js').Source} source */
  #every({ seekable, checkEvery }) {
    return seekable ? checkEvery : Math.min(checkEvery, this.#connection.window / 4); // it keeps what is not checked
  }

  /** @param {Uint8Array} bytes @param {import('./ledger.js').Ledger} ledger */
  #send(bytes, ledger) {
    const { position } = this.#connection, crc = crc32c(bytes);
    this.#connection.send(bytes);
    this.#crc = combine(this.#crc, crc, bytes.length);
    ledger.note(position, bytes, crc);
  }

  #check() {
    this.#checked = this.#connection.position;
    this.#pending.push(this.#checked);
    this.#connection.say({ type: 'check', offset: this.#checked, crc32c: encode(this.#crc) });
  }

  /**
   * Waits until the server has taken in everything up to a position.
   *
   * @param {number} position
   */
  async taken(position) {
    await this.#connection.until(() => this.received >= position);
  }

  /** @param {number} length @param {number} crc of the whole file */
  finish(length, crc) {
    this.#connection.say({ type: 'finish', length, digest: { crc32c: encode(crc) } });
  }

  cancel() { this.#connection.say({ type: 'cancel' }); }

  /** Waits for the end of the upload. */
  async done() {
    await this.#connection.until(() => this.#done !== null);
    return /** @type {import('./protocol.js').Done} */ (this.#done);
  }

  /** @param {import('./protocol.js').ServerMessage} m @param {string} id */
  #hear(m, id) {
    if (m.id && m.id !== id) return;
    switch (m.type) {
      case 'ready': return this.#begin(m);
      case 'ack': return this.#ack(m);
      case 'done':
        this.#done = m;
        return;
      case 'error': return this.#connection.fail(fromServer(m));
      case 'goaway': return this.#connection.fail(disconnected('The server restarts.', m['retry-after-ms']));
    }
  }

  /** @param {Ready} ready */
  #begin(ready) {
    this.ready = ready;
    this.received = this.#checked = ready.cursor;
    this.durable = this.settled = Math.min(ready.offset, ready.cursor);
    this.#crc = 0;
    this.#pending = [];
    this.#connection.begin(ready);
    this.#progress(this);
  }

  /** @param {import('./protocol.js').Ack} ack */
  #ack(ack) {
    if (!this.ready || ack.id === '') return; // of an earlier opening, or a heartbeat of none
    if (ack.state) return this.#progress(this, ack.state);
    const { position } = this.#connection;
    if (ack.received > position) {
      return this.#connection.fail(new UploadError('no-protocol', 'The server has more bytes than were sent.', { resumable: true }));
    }
    this.received = Math.max(this.received, ack.received);
    this.durable = Math.max(this.durable, ack.offset);
    // Bytes behind a check can only be durable if it fitted; a check that does not
    // takes back what was sent since the one before.
    while (this.#pending.length > 0 && this.#pending[0] < ack.offset) this.settled = /** @type {number} */ (this.#pending.shift());
    this.#connection.credit(ack.received, ack.window, ack.chunk);
    this.#progress(this);
  }
}

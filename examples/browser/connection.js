/**
 * One WebSocket: whether it is alive, and how much may be sent on it.
 *
 * @module
 */

import { UploadError, closedWith, disconnected } from './errors.js';
import { INITIAL_WINDOW, SUBPROTOCOL, parse } from './protocol.js';

const PATIENCE = 30_000; // ms without a word, as long as the server has not told its rhythm
const SUSPICION = 2_000; // the same for a line that may have gone
// Larger messages cross a browser more slowly: measured with Chromium 156 and a
// server that only reads, 1 MiB at a time went half as fast. A message that is
// cut short by the end of the connection is lost whole.
const MOST_CHUNK = 128 << 10;
const MOST_BUFFERED = 4 << 20; // given to the browser, and not to the network yet

/**
 * @callback Hear
 * @param {import('./protocol.js').ServerMessage} message
 */

export class Connection {
  position = 0; // in the file, of the next byte to send

  #socket;
  /** @type {UploadError | null} */
  #failure = null;
  /** @type {Hear} */
  #hear = () => {};
  /** @type {Set<() => void>} */
  #waiting = new Set();
  #unfollow;

  #watch = 0;
  #patience = PATIENCE;
  #heard = Date.now();

  #received = 0; // position up to which the server has taken bytes in
  #window = INITIAL_WINDOW;
  #chunk = INITIAL_WINDOW;
  /** @type {import('./protocol.js').Ready['limits']} */
  #limits = {};

  /**
   * @param {string} url
   * @param {AbortSignal} signal closes it
   */
  constructor(url, signal) {
    const abort = () => this.fail(new UploadError('aborted', 'The upload was stopped.', { resumable: true }));
    signal.addEventListener('abort', abort);
    this.#unfollow = () => signal.removeEventListener('abort', abort);
    this.#socket = new WebSocket(url, SUBPROTOCOL);
    this.#socket.onopen = () => this.#alive();
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.#socket.onclose = ({ code }) => this.fail(closedWith(code));
    this.#alive();
    if (signal.aborted) abort();
  }

  /** How many bytes may be on their way. */
  get window() { return this.#window; }

  get opened() { return this.#socket.readyState === WebSocket.OPEN; }

  /**
   * Says who is told of messages.
   *
   * @param {Hear} hear
   */
  listen(hear) { this.#hear = hear; }

  /**
   * Waits until condition holds; it is asked again whenever something happened.
   * Rejects when the connection is of no more use.
   *
   * @param {() => boolean} condition
   */
  async until(condition) {
    for (;;) {
      if (this.#failure) throw this.#failure;
      if (condition()) return;
      await new Promise((/** @type {(_: void) => void} */ resolve) => {
        this.#waiting.add(resolve);
        // A socket has no event for having got rid of its buffer.
        if (this.crowded) setTimeout(() => this.poke(), 10);
      });
    }
  }

  /** Has `until` look again. */
  poke() {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }

  /** @param {import('./protocol.js').ClientMessage} message */
  say(message) {
    if (this.#failure) throw this.#failure;
    this.#socket.send(JSON.stringify(message));
  }

  /** @param {Uint8Array} bytes within `allowance` */
  send(bytes) {
    if (this.#failure) throw this.#failure;
    this.#socket.send(bytes);
    this.position += bytes.length;
  }

  /**
   * Takes in where to begin, and what holds on this connection.
   *
   * @param {import('./protocol.js').Ready} ready
   */
  begin(ready) {
    this.position = this.#received = ready.cursor;
    this.#limits = ready.limits;
    this.#patience = 2 * ready.keepalive['interval-ms'];
    this.credit(ready.cursor, ready.window, ready.chunk);
    this.#alive();
  }

  /**
   * Takes in how far the server is, and how far ahead it lets us run.
   *
   * @param {number} received
   * @param {number} window
   * @param {number} chunk
   */
  credit(received, window, chunk) {
    this.#received = Math.max(this.#received, Math.min(received, this.position));
    this.#window = window;
    this.#chunk = chunk || INITIAL_WINDOW;
  }

  get crowded() {
    return this.#socket.bufferedAmount >= Math.min(MOST_BUFFERED, Math.max(this.#window, 1));
  }

  /**
   * Returns how many of the bytes that are left may go into the next message, 0
   * for none as yet. A splinter of a window is not used as long as an ack that
   * opens it further is to be expected.
   *
   * @param {number} left
   */
  allowance(left) {
    if (this.crowded) return 0;
    const least = this.#limits['min-append-size'] || 0, most = this.#limits['max-append-size'] || Infinity;
    const want = Math.min(left, Math.max(Math.min(this.#chunk, MOST_CHUNK), least), most);
    const credit = this.#received + this.#window - this.position;
    return credit >= want || this.position === this.#received ? Math.max(0, Math.min(want, credit)) : 0;
  }

  /** The way to the server may have changed: a word must come soon. */
  suspect() {
    if (Date.now() - this.#heard > this.#patience) return this.#silent(); // we slept
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#silent(), SUSPICION);
  }

  close() {
    this.fail(disconnected('The connection was closed.'));
  }

  /**
   * Ends the connection. Only the first reason counts.
   *
   * @param {UploadError} error
   */
  fail(error) {
    if (this.#failure) return;
    this.#failure = error;
    clearTimeout(this.#watch);
    this.#unfollow();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.poke();
  }

  /** @param {unknown} data */
  #take(data) {
    this.#alive();
    const message = parse(data);
    if (!message) {
      return this.fail(new UploadError('no-protocol', 'The server said something that is not wsingest.v1. Is this the address of an upload route?'));
    }
    this.#hear(message);
    this.poke();
  }

  // The server says something at least every interval, and a page sees no pings:
  // silence of two intervals means that the server, or the way to it, is gone. A
  // socket alone may take minutes to notice.
  #alive() {
    this.#heard = Date.now();
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#silent(), this.#patience);
    this.poke();
  }

  #silent() {
    const text = this.opened ? 'The server fell silent: the connection is taken for dead.' : 'The server cannot be reached.';
    this.fail(disconnected(text));
  }
}
